// What the generated parser of tree-sitter-python 0.23.6 expects of tree_sitter/parser.h and what
// the header of libtree-sitter 0.20 does not have: character ranges and ADVANCE_MAP. Included
// before the generated source. libtree-sitter 0.22 and later define all of it, then this adds
// nothing.
#pragma once

#include <tree_sitter/parser.h>

#ifndef ADVANCE_MAP
typedef struct {
  int32_t start;
  int32_t end;  // inclusive
} TSCharacterRange;

// `ranges` is sorted and does not overlap.
static inline bool set_contains(const TSCharacterRange* ranges, uint32_t count, int32_t lookahead) {
  uint32_t low = 0;
  uint32_t high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (lookahead < ranges[middle].start) {
      high = middle;
    } else if (lookahead > ranges[middle].end) {
      low = middle + 1;
    } else {
      return true;
    }
  }
  return false;
}

// Pairs of a character and the state it leads to.
#define ADVANCE_MAP(...)                                                      \
  {                                                                           \
    static const uint16_t map[] = {__VA_ARGS__};                              \
    for (uint32_t pair = 0; pair < sizeof(map) / sizeof(map[0]); pair += 2) { \
      if (map[pair] == lookahead) {                                           \
        state = map[pair + 1];                                                \
        goto next_state;                                                      \
      }                                                                       \
    }                                                                         \
  }

// The generated source gives the precedence and the production by position; the macro of 0.20 takes
// them as designated initializers and would put them into the wrong members.
#undef REDUCE
#define REDUCE(symbol_name, children, precedence, production) \
  {                                                           \
    {                                                         \
      .reduce = {.type = TSParseActionTypeReduce,             \
                 .symbol = symbol_name,                       \
                 .child_count = children,                     \
                 .dynamic_precedence = precedence,            \
                 .production_id = production},                \
    }                                                         \
  }
#endif
