/* What commands on data sets begin with: the network, the samples, and which of them are asked for. */
#ifndef EP_VERIFIER_CLI_DATA_H
#define EP_VERIFIER_CLI_DATA_H

#include "models/data.h"
#include "models/graph.h"
#include "verifier/cli.h"

typedef struct ep_cli_samples {
  ep_graph *g; /* a classifier that takes the samples */
  ep_data data;
  size_t first, n; /* --first, --count */
} ep_cli_samples;

/* Reads the network of the first argument and --data. What is there after a failure is the caller's to free as well. */
ep_status ep_cli_data_load(ep_cli *cli, ep_cli_samples *out);
/* The progress line of such a command, where --progress wants one: `done` of `todo` samples since start_s (ep_time_s).
 * At the end (done = todo) it is wiped. */
void ep_cli_data_tick(const ep_cli *cli, size_t done, size_t todo, double start_s);

#endif
