#include "verifier/cli.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/log.h"

const ep_command ep_commands[] = {
#define EP_COMMAND(id, name, args, min_args, max_args, groups, help)                                                   \
  {name, args, min_args, max_args, groups, help, ep_cli_##id},
#include "verifier/commands.def"
#undef EP_COMMAND
};
const size_t ep_n_commands = sizeof ep_commands / sizeof *ep_commands;

const ep_command *ep_command_find(const char *name) {
  for (size_t i = 0; i < ep_n_commands; i++)
    if (strcmp(ep_commands[i].name, name) == 0) return &ep_commands[i];
  return NULL;
}

ep_status ep_cli_check_format(const ep_cli *cli) {
  if (strcmp(cli->cfg.format, "vnncomp") == 0 || strcmp(cli->cfg.format, "vnnlib") == 0)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'%s' has no --format %s, only text and json", cli->command->name,
                   cli->cfg.format);
  if (cli->cfg.output)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'%s' writes to standard output, --output is for verdicts",
                   cli->command->name);
  return EP_OK;
}

ep_status ep_cli_numbers(ep_ctx *ctx, const char *flag, const char *text, size_t max, double *out, size_t *n) {
  *n = 0;
  for (const char *p = text;; p++) {
    char *end;
    double v = strtod(p, &end);
    if (end == p || (*end && *end != ',') || v - v != 0)
      return EP_FAIL(ctx, EP_E_OPTION, "--%s: '%s' is not a list of numbers", flag, text);
    if (*n == max) return EP_FAIL(ctx, EP_E_OPTION, "--%s: more than %zu numbers", flag, max);
    out[(*n)++] = v;
    p = end;
    if (!*p) return EP_OK;
  }
}

static ep_status unknown_option(ep_cli *cli, const char *flag, size_t n) {
  const ep_option *o = ep_option_find(flag, n);
  if (o) {
    return EP_FAIL(cli->ctx, EP_E_OPTION, "option --%s does not apply to '%s' (see 'epsproof help %s')", o->flag,
                   cli->command->name, cli->command->name);
  }
  o = ep_option_nearest(flag, n, cli->command->groups);
  if (o) return EP_FAIL(cli->ctx, EP_E_OPTION, "unknown option --%.*s, did you mean --%s?", (int)n, flag, o->flag);
  return EP_FAIL(cli->ctx, EP_E_OPTION, "unknown option --%.*s (see 'epsproof help %s')", (int)n, flag,
                 cli->command->name);
}

/* One `--name=value` or `--name value`; *used = 2 when the next argument was taken. */
static ep_status parse_long(ep_cli *cli, const char *arg, const char *next, int *used) {
  const char *flag = arg + 2, *equals = strchr(flag, '=');
  size_t n = equals ? (size_t)(equals - flag) : strlen(flag);
  const ep_option *o = ep_option_find(flag, n);
  *used = 1;
  if (!o || !ep_option_lists(cli->command->groups, " ", ep_option_group(o)->id)) return unknown_option(cli, flag, n);
  const char *value = equals ? equals + 1 : NULL;
  if (!value && o->type != EP_OPTION_FLAG) {
    if (!next) return EP_FAIL(cli->ctx, EP_E_OPTION, "option --%s needs a value", o->flag);
    value = next;
    *used = 2;
  }
  if (strcmp(o->id, "network") == 0 && cli->cfg.network)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "--network is given twice: queries about several networks are not supported");
  return ep_option_set(cli->ctx, &cli->cfg, o, value);
}

/* -q, -v, -vv and so on. */
static ep_status parse_short(ep_cli *cli, const char *arg) {
  if (strcmp(arg, "-q") == 0) {
    cli->cfg.verbosity = 0;
    return EP_OK;
  }
  size_t n = strspn(arg + 1, "v");
  if (!n || arg[1 + n]) return EP_FAIL(cli->ctx, EP_E_OPTION, "unknown option %s (see 'epsproof help')", arg);
  cli->cfg.verbosity += (int64_t)n;
  if (cli->cfg.verbosity > 3) cli->cfg.verbosity = 3;
  return EP_OK;
}

static ep_status parse_positional(ep_cli *cli, const char *arg) {
  if (cli->n_arg >= cli->command->max_args)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "unexpected argument '%s' (usage: epsproof %s %s)", arg, cli->command->name,
                   cli->command->args);
  assert(cli->n_arg < EP_CLI_MAX_ARGS);
  cli->arg[cli->n_arg++] = arg;
  return EP_OK;
}

static ep_status find_command(ep_cli *cli, const char *name) {
  cli->command = ep_command_find(name);
  if (cli->command) return EP_OK;
  return EP_FAIL(cli->ctx, EP_E_OPTION, "unknown %s '%s' (see 'epsproof help')", *name == '-' ? "option" : "command",
                 name);
}

ep_status ep_cli_parse(ep_cli *cli, int argc, char **argv, bool *exit_now) {
  *exit_now = true;
  ep_config_default(&cli->cfg);
  if (argc < 2) return EP_FAIL(cli->ctx, EP_E_OPTION, "no command given (see 'epsproof help')");
  if (strcmp(argv[1], "--version") == 0) return puts(ep_cli_version()), EP_OK; /* as the VNN-LIB standard wants it */
  if (strcmp(argv[1], "-V") == 0) return ep_cli_print_version(stdout), EP_OK;
  if (strcmp(argv[1], "--name") == 0) return puts("epsproof"), EP_OK;
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) return ep_cli_print_usage(stdout), EP_OK;
  EP_TRY(find_command(cli, argv[1]));
  bool only_positional = false;
  for (int i = 2, used = 1; i < argc; i += used, used = 1) {
    const char *arg = argv[i];
    bool is_help = strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
    if (only_positional || arg[0] != '-' || !arg[1] || (cli->command->run == ep_cli_supports && !is_help))
      EP_TRY(parse_positional(cli, arg));
    else if (strcmp(arg, "--") == 0)
      only_positional = true;
    else if (is_help)
      return ep_cli_print_command(stdout, cli->command), EP_OK;
    else if (arg[1] == '-' || strcmp(arg, "-o") == 0)
      EP_TRY(parse_long(cli, arg[1] == '-' ? arg : "--output", i + 1 < argc ? argv[i + 1] : NULL, &used));
    else
      EP_TRY(parse_short(cli, arg));
  }
  if (cli->n_arg < cli->command->min_args)
    return EP_FAIL(cli->ctx, EP_E_OPTION, "'%s' needs more arguments (usage: epsproof %s %s)", cli->command->name,
                   cli->command->name, cli->command->args);
  *exit_now = false;
  return EP_OK;
}

/* Log lines go to stderr; on a terminal they first wipe the progress line, which is drawn again at the next tick. */
static void print_log(void *user, int level, const char *line) {
  (void)level;
  fprintf(stderr, "%s%s\n", *(const bool *)user ? "\r\x1b[K" : "", line);
}

static void print_error(const ep_cli *cli, ep_status st) {
  ep_error e = ep_ctx_error(cli->ctx);
  fprintf(stderr, "epsproof: %s\n", e.code != EP_OK ? e.text : ep_status_text(st));
  if (e.code != EP_OK && cli->cfg.verbosity > 1) fprintf(stderr, "epsproof: (%s:%d)\n", e.file, e.line);
}

/* Limits that a file breaks (nesting, sizes) are reported like other bad input; running out of the memory that the user
 * granted is an answer and never comes here. */
static int exit_code_of(ep_status st) { return st == EP_E_LIMIT ? EP_EXIT_INPUT : ep_status_exit_code(st); }

int ep_cli_main(int argc, char **argv) {
  ep_cli cli = {.start_s = ep_time_s(), .ctx = ep_ctx_create()};
  if (!cli.ctx) return fputs("epsproof: out of memory\n", stderr), EP_EXIT_INTERNAL;
  bool exit_now, is_tty = isatty(STDERR_FILENO);
  int exit_code = 0;
  ep_status st = ep_cli_parse(&cli, argc, argv, &exit_now);
  if (st == EP_OK && !exit_now) {
    ep_ctx_set_log(cli.ctx, (int)cli.cfg.verbosity, print_log, &is_tty);
    if (cli.cfg.memory_limit > 0) ep_ctx_set_memory_limit(cli.ctx, (size_t)(cli.cfg.memory_limit * 1048576.0));
    if (cli.cfg.timeout > 0 && ep_option_lists(cli.command->groups, " ", "time"))
      ep_ctx_set_deadline(cli.ctx, cli.start_s + cli.cfg.timeout);
    st = cli.command->run(&cli, &exit_code);
  }
  if (st != EP_OK) {
    print_error(&cli, st);
    exit_code = exit_code_of(st);
  }
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fputs("epsproof: cannot write to standard output\n", stderr);
    exit_code = EP_EXIT_INPUT;
  }
  ep_ctx_destroy(cli.ctx);
  return exit_code;
}
