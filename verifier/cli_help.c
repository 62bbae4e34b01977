/* Help, version, man page and shell completion: all made from commands.def, options.def and the registries. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "encoders/relaxation.h"
#include "ep_version.h"
#include "models/train/loss.h"
#include "models/train/net.h"
#include "verifier/adversary.h"
#include "verifier/branching.h"
#include "verifier/cli.h"
#include "verifier/engine.h"

const char *ep_cli_version(void) { return EP_VERSION; }
const char *ep_cli_commit(void) { return EP_COMMIT; }

void ep_cli_print_version(FILE *out) { fprintf(out, "epsproof %s (commit %s)\n", EP_VERSION, EP_COMMIT); }

void ep_cli_print_usage(FILE *out) {
  fputs("epsproof decides, with evidence, whether a neural network keeps a promise.\n\n"
        "usage: epsproof COMMAND [ARGUMENTS] [--option=value | --option value]...\n\ncommands:\n",
        out);
  for (size_t i = 0; i < ep_n_commands; i++) fprintf(out, "  %-8s %s\n", ep_commands[i].name, ep_commands[i].help);
  fputs("\nThe first line of standard output is the verdict: unsat (the property holds), sat (a counterexample was "
        "found\n"
        "and replayed), unknown or timeout. Exit code: 20 unsat, 10 sat, 0 unknown or timeout, 1 usage, 2 bad input,\n"
        "3 internal trouble.\n\n"
        "'epsproof help COMMAND' lists a command's options; 'epsproof help engines' the engines;\n"
        "'epsproof help methods' training methods and architectures;\n"
        "'epsproof --version' the version, -V also the commit.\n",
        out);
}

/* "default 60", "one of a|b, default a" and the like. */
static void describe(const ep_option *o, char *buf, size_t n) {
  switch (o->type) {
  case EP_OPTION_INT:
  case EP_OPTION_REAL:
    snprintf(buf, n, "default %.15g", o->dflt);
    break;
  case EP_OPTION_FLAG:
    snprintf(buf, n, "default %s", o->dflt != 0 ? "true" : "false");
    break;
  case EP_OPTION_CHOICE:
    snprintf(buf, n, "one of %s, default %s", o->choices, o->dflt_text);
    break;
  case EP_OPTION_TEXT:
    snprintf(buf, n, "%s%s", o->dflt_text ? "default " : "no default", o->dflt_text ? o->dflt_text : "");
    break;
  case EP_OPTION_GROUP:
    assert(0);
  }
}

/* A lower bound below zero that equals the default only means "not set". */
static bool is_unset_marker(const ep_option *o) {
  return (o->type == EP_OPTION_INT || o->type == EP_OPTION_REAL) && o->dflt < 0 && o->dflt == o->min;
}

static void print_option(FILE *out, const ep_option *o) {
  char flag[64], about[128];
  snprintf(flag, sizeof flag, "--%s=%s", o->flag, o->value);
  describe(o, about, sizeof about);
  fprintf(out, "  %-22s %s", flag, o->help);
  if (o->type != EP_OPTION_TEXT || o->dflt_text)
    fprintf(out, "%s%s%s", " [", is_unset_marker(o) ? "not set" : about, "]");
  fputc('\n', out);
}

static void print_options(FILE *out, const char *groups) {
  bool is_listed = false;
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    if (o->type == EP_OPTION_GROUP) {
      is_listed = !groups || ep_option_lists(groups, " ", o->id);
      if (is_listed) fprintf(out, "\n%s:\n", o->help);
    } else if (is_listed) {
      print_option(out, o);
    }
  }
}

void ep_cli_print_command(FILE *out, const ep_command *command) {
  fprintf(out, "usage: epsproof %s %s%s\n\n%s\n", command->name, command->args, *command->groups ? " [OPTIONS]" : "",
          command->help);
  if (*command->groups) {
    print_options(out, command->groups);
    fputs("\n-q, -v and -vv are short for --verbosity 0, 2 and 3.\n", out);
  }
}

static void print_engines(FILE *out) {
  fputs("engines (--engine NAME):\n", out);
  for (size_t i = 0; i < ep_n_engines; i++) {
    const ep_engine *e = &ep_engines[i];
    const char *can = e->can_sat && e->can_unsat ? "sat, unsat" : e->can_sat ? "sat" : "unsat";
    fprintf(out, "  %-12s [%s] %s\n", e->name, can, e->help);
  }
  fputs("\nbranching rules of engine bab (--branching NAME):\n", out);
  for (size_t i = 0; i < ep_n_branchings; i++)
    fprintf(out, "  %-12s %s\n", ep_branchings[i].name, ep_branchings[i].help);
}

static void print_methods(FILE *out) {
  fputs("training methods (train --method NAME):\n", out);
  for (size_t i = 0; i < ep_n_methods; i++) fprintf(out, "  %-14s %s\n", ep_methods[i].name, ep_methods[i].help);
  fputs("\nattacks (attack NET --data PATH --method NAME):\n", out);
  for (size_t i = 0; i < ep_n_attack_kinds; i++)
    fprintf(out, "  %-14s %s\n", ep_attack_kinds[i].name, ep_attack_kinds[i].help);
  fputs("\nlosses (--loss NAME):\n", out);
  for (size_t i = 0; i < ep_n_losses; i++) fprintf(out, "  %-14s %s\n", ep_losses[i].name, ep_losses[i].help);
  fputs("\narchitectures (--arch NAME):\n", out);
  for (size_t i = 0; i < ep_n_archs; i++) fprintf(out, "  %-14s %s\n", ep_archs[i].name, ep_archs[i].help);
}

static void print_relaxations(FILE *out) {
  fputs("convex relaxations (bound --relaxation NAME), from loose to tight:\n", out);
  for (int c = 0; c < EP_N_CONVEX; c++)
    fprintf(out, "  %-14s %s\n", ep_convex_name((ep_convex)c), ep_convex_help((ep_convex)c));
}

/* Text for roff: a leading dot or quote and every hyphen and backslash need care. */
static void roff(FILE *out, const char *s) {
  for (; *s; s++) {
    if (*s == '-' || *s == '\\') fputc('\\', out);
    fputc(*s == '\\' ? 'e' : *s, out);
  }
}

static void roff_item(FILE *out, const char *title, const char *rest, const char *text) {
  fputs(".TP\n\\fB", out);
  roff(out, title);
  fputs("\\fR", out);
  if (*rest) {
    fputs(*title == '-' ? "=\\fI" : " \\fI", out);
    roff(out, rest);
    fputs("\\fR", out);
  }
  fputc('\n', out);
  roff(out, text);
  fputc('\n', out);
}

static void print_man_options(FILE *out) {
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    if (o->type == EP_OPTION_GROUP) {
      fprintf(out, ".SS %s\n", o->help);
      continue;
    }
    char flag[64], about[128], text[512];
    snprintf(flag, sizeof flag, "--%s", o->flag);
    describe(o, about, sizeof about);
    snprintf(text, sizeof text, "%s (%s)", o->help, is_unset_marker(o) ? "no default" : about);
    roff_item(out, flag, o->value, text);
  }
}

static void print_man(FILE *out) {
  fprintf(
      out,
      ".\\\" Made by 'epsproof help man'; do not edit.\n.TH EPSPROOF 1 \"\" \"epsproof %s\" \"User Commands\"\n"
      ".SH NAME\nepsproof \\- a sound neural\\-network verifier\n"
      ".SH SYNOPSIS\n.B epsproof\n.I COMMAND\n[\\fIARGUMENTS\\fR] [\\fB\\-\\-option\\fR=\\fIvalue\\fR]...\n"
      ".SH DESCRIPTION\nReads a network (ONNX) and a property (VNN\\-LIB, or a robustness query from options) and\n"
      "answers unsat (the property holds, by certified bounds), sat (a concrete counterexample, replayed), unknown\n"
      "or timeout. The answer is the first line of standard output.\n.SH COMMANDS\n",
      EP_VERSION);
  for (size_t i = 0; i < ep_n_commands; i++)
    roff_item(out, ep_commands[i].name, ep_commands[i].args, ep_commands[i].help);
  fputs(".SH OPTIONS\nBoth \\-\\-name=value and \\-\\-name value are read. \\-q, \\-v and \\-vv are short for\n"
        "\\-\\-verbosity 0, 2 and 3.\n",
        out);
  print_man_options(out);
  fputs(".SH ENGINES\n", out);
  for (size_t i = 0; i < ep_n_engines; i++) roff_item(out, ep_engines[i].name, "", ep_engines[i].help);
  fputs(".SH TRAINING METHODS\n", out);
  for (size_t i = 0; i < ep_n_methods; i++) roff_item(out, ep_methods[i].name, "", ep_methods[i].help);
  fputs(".SH ATTACKS\n", out);
  for (size_t i = 0; i < ep_n_attack_kinds; i++) roff_item(out, ep_attack_kinds[i].name, "", ep_attack_kinds[i].help);
  fputs(".SH ARCHITECTURES\n", out);
  for (size_t i = 0; i < ep_n_archs; i++) roff_item(out, ep_archs[i].name, "", ep_archs[i].help);
  fputs(".SH EXIT STATUS\n", out);
  roff_item(out, "20", "", "unsat: no counterexample exists");
  roff_item(out, "10", "", "sat: a counterexample was found and replayed");
  roff_item(out, "0", "", "unknown or timeout; also help, bound and inspect when they succeed");
  roff_item(out, "1", "", "usage error");
  roff_item(out, "2", "", "bad input");
  roff_item(out, "3", "", "internal trouble");
}

static void print_completion(FILE *out) {
  fputs("# Made by 'epsproof help completion'; do not edit.\n"
        "_epsproof() {\n"
        "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} flags=\n"
        "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"",
        out);
  for (size_t i = 0; i < ep_n_commands; i++) fprintf(out, "%s ", ep_commands[i].name);
  fputs("--help --version\" -- \"$cur\"))\n    return\n  fi\n  case $prev in\n", out);
  for (size_t i = 0; i < ep_n_options; i++) {
    const ep_option *o = &ep_options[i];
    if (o->type != EP_OPTION_CHOICE) continue;
    fprintf(out, "    --%s) COMPREPLY=($(compgen -W \"", o->flag);
    for (const char *c = o->choices; *c; c++) fputc(*c == '|' ? ' ' : *c, out);
    fputs("\" -- \"$cur\")); return ;;\n", out);
  }
  fputs("    --engine) COMPREPLY=($(compgen -W \"", out);
  for (size_t i = 0; i < ep_n_engines; i++) fprintf(out, "%s%s", i ? " " : "", ep_engines[i].name);
  fputs("\" -- \"$cur\")); return ;;\n  esac\n  case ${COMP_WORDS[1]} in\n", out);
  for (size_t i = 0; i < ep_n_commands; i++) {
    fprintf(out, "    %s) flags=\"", ep_commands[i].name);
    for (size_t k = 0; k < ep_n_options; k++) {
      const ep_option *o = &ep_options[k];
      if (o->type != EP_OPTION_GROUP && ep_option_lists(ep_commands[i].groups, " ", ep_option_group(o)->id))
        fprintf(out, "--%s ", o->flag);
    }
    fputs("--help\" ;;\n", out);
  }
  fputs("  esac\n  case $cur in\n    -*) COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\")) ;;\n"
        "    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n  esac\n}\ncomplete -o filenames -F _epsproof epsproof\n",
        out);
}

ep_status ep_cli_help(ep_cli *cli, int *exit_code) {
  *exit_code = 0;
  const char *topic = cli->n_arg ? cli->arg[0] : NULL;
  const ep_command *command = topic ? ep_command_find(topic) : NULL;
  if (!topic)
    ep_cli_print_usage(stdout);
  else if (command)
    ep_cli_print_command(stdout, command);
  else if (strcmp(topic, "engines") == 0)
    print_engines(stdout);
  else if (strcmp(topic, "methods") == 0)
    print_methods(stdout);
  else if (strcmp(topic, "relaxations") == 0)
    print_relaxations(stdout);
  else if (strcmp(topic, "options") == 0)
    print_options(stdout, NULL);
  else if (strcmp(topic, "man") == 0)
    print_man(stdout);
  else if (strcmp(topic, "completion") == 0)
    print_completion(stdout);
  else
    return EP_FAIL(cli->ctx, EP_E_OPTION,
                   "no help on '%s' (topics: a command, engines, methods, relaxations, options, man, completion)",
                   topic);
  return EP_OK;
}
