// A reactor for WASI preview 1 that uses files as C programs do. Failures are negative `errno`s.

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT(name) __attribute__((export_name(name)))

// The host lowers arguments into what this returns.
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

static char *text(char *bytes, size_t length) {
  char *copy = malloc(length + 1);
  if (!copy)
    abort();
  memcpy(copy, bytes, length);
  copy[length] = 0;
  return copy;
}

// first-byte: func(path: string) -> s32
EXPORT("first-byte")
int32_t first_byte(char *path, size_t length) {
  int file = open(text(path, length), O_RDONLY);
  if (file < 0)
    return -errno;
  unsigned char byte;
  ssize_t got = read(file, &byte, 1);
  close(file);
  return got < 0 ? -errno : got == 0 ? 0 : byte;
}

// create: func(path: string) -> s32
EXPORT("create")
int32_t create(char *path, size_t length) {
  int file = open(text(path, length), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0)
    return -errno;
  ssize_t put = write(file, "made", 4);
  close(file);
  return put == 4 ? 0 : -errno;
}

// link-to: func(target: string, path: string) -> s32
EXPORT("link-to")
int32_t link_to(char *target, size_t target_length, char *path, size_t length) {
  return symlink(text(target, target_length), text(path, length)) ? -errno : 0;
}
