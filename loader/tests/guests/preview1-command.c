// A command for WASI preview 1: prints which of its streams are terminals and ends with the status that its first
// argument says.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static const char *const names[] = {"stdin", "stdout", "stderr"};
  for (int stream = 0; stream < 3; stream++) {
    printf("%s%s", stream > 0 ? " " : "", isatty(stream) ? names[stream] : "-");
  }
  puts("");
  return argc > 1 ? atoi(argv[1]) : EXIT_SUCCESS;
}
