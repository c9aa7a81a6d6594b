// Lists, strings and results through the canonical ABI, in C without a standard library.
//
// The host lowers arguments through `cabi_realloc`, a bump allocator from `__heap_base` on. Every
// function gives back what its call allocated by resetting it before it returns, which is safe
// because nothing that is returned lives there.

#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define PAGE_BYTES 65536u

extern unsigned char __heap_base; // its address is given by the linker
static unsigned char *heap_next = &__heap_base;

static void reset_heap(void) {
  heap_next = &__heap_base;
}

EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_size, size_t align, size_t new_size) {
  // In 64 bits, so that a length near 4 GiB can't wrap around.
  uint64_t start = ((uint64_t)(uintptr_t)heap_next + align - 1) & ~(uint64_t)(align - 1);
  uint64_t end = start + new_size;
  uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
  if (end > have) {
    uint64_t pages = (end - have + PAGE_BYTES - 1) / PAGE_BYTES;
    if (__builtin_wasm_memory_grow(0, (size_t)pages) == (size_t)-1)
      __builtin_trap();
  }
  heap_next = (unsigned char *)(uintptr_t)end;
  unsigned char *to = (unsigned char *)(uintptr_t)start;
  const unsigned char *from = old;
  size_t kept = old_size < new_size ? old_size : new_size;
  for (size_t i = 0; i < kept; i++)
    to[i] = from[i];
  return to;
}

// sum: func(values: list<s32>) -> s64
EXPORT("sum")
int64_t sum(const int32_t *values, size_t length) {
  int64_t total = 0;
  for (size_t i = 0; i < length; i++)
    total += values[i];
  reset_heap();
  return total;
}

// How `result<s32, string>` lies in memory.
struct division {
  uint8_t is_err;
  union {
    int32_t quotient;
    struct {
      const char *text;
      size_t length;
    } message;
  } value;
};

static struct division err(const char *text, size_t length) {
  struct division failed = {.is_err = 1};
  failed.value.message.text = text;
  failed.value.message.length = length;
  return failed;
}

#define ERR(literal) err(literal, sizeof(literal) - 1)

// divide: func(a: s32, b: s32) -> result<s32, string>
EXPORT("divide")
const struct division *divide(int32_t a, int32_t b) {
  static struct division answer; // too large for a register: the host reads it at this address
  if (b == 0)
    answer = ERR("division by zero");
  else if (a == INT32_MIN && b == -1)
    answer = ERR("quotient out of range");
  else
    answer = (struct division){.is_err = 0, .value.quotient = a / b};
  return &answer;
}
