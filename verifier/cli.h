/* The command line: parsed arguments, the commands' entry points, and what they share. The only part of the program,
 * with report and progress, that prints. */
#ifndef EP_VERIFIER_CLI_H
#define EP_VERIFIER_CLI_H

#include <stdio.h>

#include "verifier/config.h"

#define EP_EXIT_UNSAT 20
#define EP_EXIT_SAT 10
#define EP_EXIT_UNKNOWN 0
#define EP_EXIT_USAGE 1
#define EP_EXIT_INPUT 2
#define EP_EXIT_INTERNAL 3

enum { EP_CLI_MAX_ARGS = 2 };

typedef struct ep_command ep_command;
typedef struct ep_cli {
  ep_ctx *ctx;
  ep_config cfg;
  const ep_command *command;
  double start_s; /* monotonic time at which the process started */
  int n_arg;
  const char *arg[EP_CLI_MAX_ARGS]; /* positional arguments after the command */
} ep_cli;

struct ep_command {
  const char *name, *args;
  int min_args, max_args;
  const char *groups, *help;
  /* Returns a status; *exit_code is used when it is EP_OK. */
  ep_status (*run)(ep_cli *cli, int *exit_code);
};
extern const ep_command ep_commands[];
extern const size_t ep_n_commands;
const ep_command *ep_command_find(const char *name);

#define EP_COMMAND(id, name, args, min_args, max_args, groups, help) ep_status ep_cli_##id(ep_cli *cli, int *exit_code);
#include "verifier/commands.def"
#undef EP_COMMAND

/* The whole program: returns the exit code. */
int ep_cli_main(int argc, char **argv);
/* Fills command, options and positional arguments. `--version` and `--help` become *exit_now (printed already). */
ep_status ep_cli_parse(ep_cli *cli, int argc, char **argv, bool *exit_now);

/* cli_help.c */
void ep_cli_print_version(FILE *out);
void ep_cli_print_usage(FILE *out);
void ep_cli_print_command(FILE *out, const ep_command *command);
const char *ep_cli_version(void);
const char *ep_cli_commit(void);

/* Refuses --output and --format vnncomp for commands that print a listing. */
ep_status ep_cli_check_format(const ep_cli *cli);
/* Comma-separated numbers, at most max; EP_E_OPTION naming `flag` otherwise. */
ep_status ep_cli_numbers(ep_ctx *ctx, const char *flag, const char *text, size_t max, double *out, size_t *n);

#endif
