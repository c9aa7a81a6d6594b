// A command for WASI preview 1: prints a greeting, its arguments and one environment variable.

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  puts("Hello from WASI preview 1!");
  for (int i = 0; i < argc; i++) {
    fputs("argument: ", stdout);
    puts(argv[i]);
  }
  const char *greeting = getenv("GREETING");
  fputs("GREETING: ", stdout);
  puts(greeting ? greeting : "(not set)");
  return EXIT_SUCCESS;
}
