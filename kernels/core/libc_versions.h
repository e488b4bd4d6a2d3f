// Binds the few libc functions whose symbol moved to a new version in glibc 2.34 (when libdl was
// merged into libc) to their old version, so that a library built on a new system loads on glibc
// 2.27. The library keeps libdl.so.2 among its NEEDED entries, where an old glibc has them.
#pragma once

#include <dlfcn.h>

#if defined(__x86_64__)
#define SSM_OLD_GLIBC "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define SSM_OLD_GLIBC "GLIBC_2.17"
#endif

#if defined(SSM_OLD_GLIBC) && defined(__GLIBC__)
__asm__(".symver dlopen,dlopen@" SSM_OLD_GLIBC);
__asm__(".symver dlsym,dlsym@" SSM_OLD_GLIBC);
__asm__(".symver dlerror,dlerror@" SSM_OLD_GLIBC);
__asm__(".symver dladdr,dladdr@" SSM_OLD_GLIBC);
#endif
