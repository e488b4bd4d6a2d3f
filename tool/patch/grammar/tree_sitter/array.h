// The growing array that the scanner of tree-sitter-python 0.23.6 uses, under the names it expects;
// libtree-sitter 0.20 installs no such header. Where memory runs out the program ends, as
// libtree-sitter itself does.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define Array(type)    \
  struct {             \
    type* contents;    \
    uint32_t size;     \
    uint32_t capacity; \
  }

static inline void* array_grown(void* contents, uint32_t count, size_t element_bytes) {
  void* grown = realloc(contents, count * element_bytes);
  if (grown == NULL) abort();
  return grown;
}

#define array_init(array) ((array)->contents = NULL, (array)->size = 0, (array)->capacity = 0)
#define array_delete(array) (free((array)->contents), array_init(array))
#define array_clear(array) ((array)->size = 0)
#define array_get(array, index) (&(array)->contents[index])
#define array_back(array) (&(array)->contents[(array)->size - 1])
#define array_pop(array) ((array)->contents[--(array)->size])
#define array_reserve(array, count)                                              \
  ((void)((count) > (array)->capacity                                            \
              ? ((array)->contents = (__typeof__((array)->contents))array_grown( \
                     (array)->contents, (count), sizeof(*(array)->contents)),    \
                 (array)->capacity = (count))                                    \
              : 0))
#define array_push(array, element)                                                                \
  (array_reserve(                                                                                 \
       array, (array)->size < (array)->capacity ? (array)->capacity : (array)->capacity * 2 + 8), \
   (array)->contents[(array)->size++] = (element))
