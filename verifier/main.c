#include "verifier/cli.h"

int main(int argc, char **argv) { return ep_cli_main(argc, argv); }
