/* Opens its arguments with dlopen, in order, as Python opens extensions (RTLD_NOW, RTLD_LOCAL; with
   "g:" in front RTLD_GLOBAL), and says what happened, then which objects the last one brought. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

static int known(struct link_map** seen, int count, struct link_map* map) {
  for (int i = 0; i < count; ++i) {
    if (seen[i] == map) return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  struct link_map* seen[512];
  int ok = 1;
  for (int i = 1; i < argc; ++i) {
    int global = strncmp(argv[i], "g:", 2) == 0;
    int count = 0;
    struct link_map* first = NULL;
    dlinfo(dlopen(NULL, RTLD_NOW), RTLD_DI_LINKMAP, &first);
    for (struct link_map* m = first; m != NULL && count < 512; m = m->l_next) seen[count++] = m;
    ok = dlopen(argv[i] + 2 * global, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL)) != NULL;
    if (!ok) printf("ERR %s\n", dlerror());
    if (ok && i + 1 == argc) {
      for (struct link_map* m = first; m != NULL; m = m->l_next) {
        if (!known(seen, count, m)) printf("MAP %s\n", m->l_name);
      }
    }
  }
  return ok ? 0 : 1;
}
