#include "repair_faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace ssmend {
namespace {

Fault armed;
bool counting = false;
long count = 0;

void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

// True where the call is to fail; errno is set then.
bool before_call() {
  if (!counting) return false;
  ++count;
  const bool here = count == armed.at;
  const bool onward = armed.kind == Fault::Kind::kFailOnward && count >= armed.at;
  if (here && armed.kind == Fault::Kind::kKill) die();
  if (onward || (here && armed.kind == Fault::Kind::kFail)) {
    errno = armed.error;
    return true;
  }
  return false;
}

void after_call() {
  if (counting && count == armed.at && armed.kind == Fault::Kind::kTear) die();
}

template <typename Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

template <typename Function, typename... Arguments>
int counted(const char* name, Arguments... arguments) {
  if (before_call()) return -1;
  const int result = real<Function>(name)(arguments...);
  after_call();
  return result;
}

}  // namespace

void arm(const Fault& fault) {
  armed = fault;
  count = 0;
  counting = true;
}
void disarm() { counting = false; }
long writing_calls() { return count; }

}  // namespace ssmend

using ssmend::counted;

extern "C" {

ssize_t write(int descriptor, const void* bytes, size_t size) {
  if (ssmend::before_call()) return -1;
  using Function = ssize_t (*)(int, const void*, size_t);
  const bool tear = ssmend::counting && ssmend::count == ssmend::armed.at &&
                    ssmend::armed.kind == ssmend::Fault::Kind::kTear;
  const ssize_t put = ssmend::real<Function>("write")(descriptor, bytes, tear ? size / 2 : size);
  ssmend::after_call();
  return put;
}

int mkostemp(char* pattern, int flags) {
  return counted<int (*)(char*, int)>("mkostemp", pattern, flags);
}
int fsync(int descriptor) { return counted<int (*)(int)>("fsync", descriptor); }
int fchown(int descriptor, uid_t user, gid_t group) noexcept {
  return counted<int (*)(int, uid_t, gid_t)>("fchown", descriptor, user, group);
}
int lchown(const char* path, uid_t user, gid_t group) noexcept {
  return counted<int (*)(const char*, uid_t, gid_t)>("lchown", path, user, group);
}
int fchmod(int descriptor, mode_t mode) noexcept {
  return counted<int (*)(int, mode_t)>("fchmod", descriptor, mode);
}
int chmod(const char* path, mode_t mode) noexcept {
  return counted<int (*)(const char*, mode_t)>("chmod", path, mode);
}
int futimens(int descriptor, const timespec* times) noexcept {
  return counted<int (*)(int, const timespec*)>("futimens", descriptor, times);
}
int utimensat(int directory, const char* path, const timespec* times, int flags) noexcept {
  return counted<int (*)(int, const char*, const timespec*, int)>("utimensat", directory, path,
                                                                  times, flags);
}
int rename(const char* from, const char* to) noexcept {
  return counted<int (*)(const char*, const char*)>("rename", from, to);
}
int linkat(int from_directory, const char* from, int to_directory, const char* to,
           int flags) noexcept {
  return counted<int (*)(int, const char*, int, const char*, int)>("linkat", from_directory, from,
                                                                   to_directory, to, flags);
}
int symlink(const char* target, const char* path) noexcept {
  return counted<int (*)(const char*, const char*)>("symlink", target, path);
}
int unlink(const char* path) noexcept { return counted<int (*)(const char*)>("unlink", path); }
int rmdir(const char* path) noexcept { return counted<int (*)(const char*)>("rmdir", path); }
int mkdir(const char* path, mode_t mode) noexcept {
  return counted<int (*)(const char*, mode_t)>("mkdir", path, mode);
}
int lsetxattr(const char* path, const char* name, const void* value, size_t size,
              int flags) noexcept {
  return counted<int (*)(const char*, const char*, const void*, size_t, int)>(
      "lsetxattr", path, name, value, size, flags);
}

}  // extern "C"
