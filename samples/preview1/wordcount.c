// A reactor for WASI preview 1: functions that are called one by one, exported by the canonical ABI.

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define EXPORT(name) __attribute__((export_name(name)))

// The host lowers arguments into what this returns; whoever takes an argument frees it. `malloc`
// aligns to 16 bytes, more than any value of the canonical ABI needs.
EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t new_size) {
  (void)old_size;
  if (new_size == 0)
    return (void *)align; // aligned, and never read
  void *block = realloc(old, new_size);
  if (!block)
    abort();
  return block;
}

static int is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// count: func(text: string) -> u32
EXPORT("count")
uint32_t count(char *text, size_t length) {
  uint32_t words = 0;
  int inside = 0;
  for (size_t i = 0; i < length; i++) {
    int letter = !is_space(text[i]);
    words += letter && !inside;
    inside = letter;
  }
  if (length > 0)
    free(text);
  return words;
}

// stamp: func() -> u64
EXPORT("stamp")
uint64_t stamp(void) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0)
    abort();
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
