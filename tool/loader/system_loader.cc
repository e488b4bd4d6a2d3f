#include "loader/system_loader.h"

#include <elf.h>
#include <sys/auxv.h>

#include <algorithm>

#include "base/text.h"
#include "base/version.h"
#include "elf/elf_facts.h"

namespace ssmend {
namespace {

constexpr uint64_t kLargestLoader = uint64_t{8} << 20;
constexpr uint64_t kLargestCache = uint64_t{16} << 20;

struct UsualLoader {
  int elf_class;
  uint16_t machine;
  const char* path;
};
constexpr UsualLoader kUsualLoaders[] = {
    {64, EM_X86_64, "/lib64/ld-linux-x86-64.so.2"},
    {64, EM_X86_64, "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"},
    {64, EM_X86_64, "/lib/ld-musl-x86_64.so.1"},
    {64, EM_AARCH64, "/lib/ld-linux-aarch64.so.1"},
    {64, EM_AARCH64, "/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"},
    {64, EM_AARCH64, "/lib/ld-musl-aarch64.so.1"},
    {32, EM_386, "/lib/ld-linux.so.2"},
    {32, EM_ARM, "/lib/ld-linux-armhf.so.3"},
    {64, EM_RISCV, "/lib/ld-linux-riscv64-lp64d.so.1"},
    {64, EM_PPC64, "/lib64/ld64.so.2"},
    {64, EM_S390, "/lib/ld64.so.1"},
};

bool is_directory_text(std::string_view text) {
  return text.size() >= 2 && text.front() == '/' && text.back() == '/' &&
         text.find_first_of(" %\n") == std::string_view::npos;
}

// The run of NUL-separated directories that has "/usr/lib" or "/usr/lib64" in it.
std::vector<std::string> find_default_directories(std::string_view bytes) {
  using namespace std::string_view_literals;
  for (const std::string_view anchor : {"/\0/usr/lib/"sv, "/\0/usr/lib64/"sv, "/\0/usr/lib/"sv}) {
    for (size_t at = bytes.find(anchor); at != std::string_view::npos;
         at = bytes.find(anchor, at + 1)) {
      size_t begin = at;
      while (begin > 0) {  // back to the first text of the run
        const size_t nul = bytes.rfind('\0', begin - 1);
        if (nul == std::string_view::npos) break;
        const size_t text_end = bytes.find('\0', nul + 1);
        if (!is_directory_text(bytes.substr(nul + 1, text_end - nul - 1))) break;
        begin = nul;
      }
      std::vector<std::string> run;
      for (size_t text = begin + 1; text < bytes.size();) {
        const size_t end = bytes.find('\0', text);
        if (end == std::string_view::npos) break;
        const std::string_view directory = bytes.substr(text, end - text);
        if (!is_directory_text(directory)) break;
        run.emplace_back(directory);
        text = end + 1;
      }
      if (run.size() >= 2) return run;
    }
  }
  return {};
}

std::string find_version(std::string_view bytes) {
  constexpr std::string_view kMark = " release version ";
  const size_t at = bytes.find(kMark);
  if (at == std::string_view::npos) return {};
  size_t end = at + kMark.size();
  while (end < bytes.size() && ((bytes[end] >= '0' && bytes[end] <= '9') || bytes[end] == '.'))
    ++end;
  std::string version(bytes.substr(at + kMark.size(), end - at - kMark.size()));
  while (!version.empty() && version.back() == '.') version.pop_back();
  return version;
}

// The processor decides which subdirectories are searched. The machine that ssmend runs on is asked
// where it is of the target's kind; else the answer is that of the plainest machine of a Jetson's
// kind, which has LSE atomics from Xavier on.
struct Processor {
  std::vector<std::string> hwcaps;         // glibc-hwcaps, best first
  std::string platform;                    // AT_PLATFORM as glibc sees it
  std::vector<std::string> legacy_hwcaps;  // before 2.37, most significant bit first
};

#if defined(__x86_64__)
Processor this_x86_64() {
  Processor processor;
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") &&
                  __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                  __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v4) processor.hwcaps.emplace_back("x86-64-v4");
  if (v3) processor.hwcaps.emplace_back("x86-64-v3");
  if (v2) processor.hwcaps.emplace_back("x86-64-v2");
  processor.platform = "x86_64";
  // glibc before 2.37 gives Intel's processors a platform name (sysdeps/x86/cpu-features.c).
  const bool intel = __builtin_cpu_is("intel");
  if (intel && v3) processor.platform = "haswell";
  if (intel && v4) processor.legacy_hwcaps.emplace_back("avx512_1");
  processor.legacy_hwcaps.emplace_back("x86_64");
  return processor;
}
#endif

Processor target_processor(uint16_t machine) {
  Processor processor;
  if (machine == EM_X86_64) {
#if defined(__x86_64__)
    return this_x86_64();
#else
    processor.platform = "x86_64";
    processor.legacy_hwcaps = {"x86_64"};
#endif
  } else if (machine == EM_AARCH64) {
    processor.platform = "aarch64";
    bool atomics = true;
#if defined(__aarch64__)
    constexpr unsigned long kAtomics = 1 << 8;  // HWCAP_ATOMICS
    atomics = (getauxval(AT_HWCAP) & kAtomics) != 0;
#endif
    if (atomics) processor.legacy_hwcaps.emplace_back("atomics");
  } else if (machine == EM_ARM) {
    processor.platform = "v7l";
  }
  return processor;
}

// Before 2.37: every subset of {tls, platform, hwcaps}, as a binary number counted down with `tls`
// as its first digit (elf/dl-hwcaps.c). Two equal members give the same path twice; so does ld.so.
void add_legacy_subdirectories(const Processor& processor, std::vector<std::string>& list) {
  std::vector<std::string> parts = {"tls"};
  if (!processor.platform.empty()) parts.push_back(processor.platform);
  parts.insert(parts.end(), processor.legacy_hwcaps.begin(), processor.legacy_hwcaps.end());
  for (unsigned mask = (1U << parts.size()) - 1; mask != 0; --mask) {
    std::string path;
    for (size_t i = 0; i < parts.size(); ++i) {
      if ((mask >> (parts.size() - 1 - i) & 1) != 0) path += parts[i] + "/";
    }
    list.push_back(std::move(path));
  }
}

void read_glibc(const Disk& disk, std::string_view bytes, SystemLoader& loader) {
  loader.version = find_version(bytes);
  loader.default_directories = find_default_directories(bytes);
  if (loader.default_directories.empty()) {
    loader.default_directories = loader.elf_class == 64
                                     ? std::vector<std::string>{"/lib64/", "/usr/lib64/"}
                                     : std::vector<std::string>{"/lib/", "/usr/lib/"};
  }
  const std::string& first = loader.default_directories.front();
  loader.lib_token = first.substr(1, first.size() - 2);
  const Processor processor = target_processor(loader.machine);
  const std::string version = loader.version.empty() ? "2.36" : loader.version;
  const bool legacy = compare_dotted(version, "2.37") < 0;
  loader.platform_token = processor.platform;
  if (!legacy && loader.machine == EM_X86_64) loader.platform_token = "x86_64";
  if (compare_dotted(version, "2.33") >= 0) {
    loader.hwcaps = processor.hwcaps;
    for (const std::string& name : processor.hwcaps) {
      loader.subdirectories.push_back("glibc-hwcaps/" + name + "/");
    }
  }
  if (legacy) add_legacy_subdirectories(processor, loader.subdirectories);
  loader.subdirectories.emplace_back();
  Result<std::string> cache = disk.read("/etc/ld.so.cache", kLargestCache);
  if (cache.ok()) loader.cache = parse_ld_cache(std::move(cache).value());
}

}  // namespace

std::string usual_interpreter(const Disk& disk, int elf_class, uint16_t machine) {
  std::string first;
  for (const UsualLoader& usual : kUsualLoaders) {
    if (usual.elf_class != elf_class || usual.machine != machine) continue;
    if (disk.exists(usual.path)) return usual.path;
    if (first.empty()) first = usual.path;
  }
  return first;
}

SystemLoader read_system_loader(const Disk& disk, const std::string& interpreter, int elf_class,
                                uint16_t machine) {
  SystemLoader loader;
  loader.machine = machine;
  loader.elf_class = elf_class;
  loader.path = interpreter.empty() ? usual_interpreter(disk, elf_class, machine) : interpreter;
  loader.musl = base_name(loader.path).substr(0, 8) == "ld-musl-";
  Result<std::string> bytes = Error("no loader is known for this machine");
  if (!loader.path.empty()) bytes = disk.read(loader.path, kLargestLoader);
  loader.found = bytes.ok();
  if (loader.musl) {
    loader.subdirectories.emplace_back();
    std::string name(base_name(loader.path));  // ld-musl-aarch64.so.1 -> ld-musl-aarch64.path
    name = name.substr(0, name.find(".so")) + ".path";
    Result<std::string> paths = disk.read("/etc/" + name, 65536);
    loader.has_musl_path_file = paths.ok();
    if (paths.ok()) loader.musl_path_file = std::move(paths).value();
    return loader;
  }
  loader.soname = base_name(loader.path);
  if (loader.found) {
    const std::string soname =
        read_elf(disk, loader.path, {.symbols = false, .sections = false}).soname;
    if (!soname.empty()) loader.soname = soname;
  }
  read_glibc(disk, bytes.ok() ? std::string_view(*bytes) : std::string_view(), loader);
  return loader;
}

}  // namespace ssmend
