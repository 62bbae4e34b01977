/* The robustness query of the command line's flags. */
#ifndef EP_VERIFIER_CLI_ROBUST_H
#define EP_VERIFIER_CLI_ROBUST_H

#include "verifier/cli.h"
#include "verifier/query.h"

/* Reads --image (and --labels), fills in what flags leave open, builds the query for `g`. */
ep_status ep_cli_robust_query(const ep_cli *cli, const ep_graph *g, ep_query **out);
/* Draws the counterexample `witness` (network inputs) of the flags' query beside the image (portrait.h). Pixels must
 * lie in [0,1] after --scale. */
ep_status ep_cli_robust_picture(const ep_cli *cli, const ep_graph *g, const double *witness, const char *path);

#endif
