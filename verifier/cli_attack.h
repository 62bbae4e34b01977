/* Attacks on the samples of a data set, with pictures. */
#ifndef EP_VERIFIER_CLI_ATTACK_H
#define EP_VERIFIER_CLI_ATTACK_H

#include "verifier/cli.h"

/* `attack NET --data PATH --method NAME`. */
ep_status ep_cli_attack_data(ep_cli *cli, int *exit_code);

#endif
