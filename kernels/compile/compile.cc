#include "compile/compile.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "compile/jobs.h"
#include "core/pack.h"
#include "ssm_kernels.h"

namespace ssm {
namespace {

namespace fs = std::filesystem;

// The part of nvrtc.h used here; the calls have had one ABI since CUDA 11.1.
struct Nvrtc {
  using Program = void*;
  int (*version)(int* major, int* minor);
  int (*create)(Program* program, const char* source, const char* name, int headers,
                const char* const* header_sources, const char* const* header_names);
  int (*compile)(Program program, int options, const char* const* values);
  int (*log_size)(Program program, size_t* size);
  int (*log)(Program program, char* log);
  int (*cubin_size)(Program program, size_t* size);
  int (*cubin)(Program program, char* cubin);
  int (*ptx_size)(Program program, size_t* size);
  int (*ptx)(Program program, char* ptx);
  int (*destroy)(Program* program);
  const char* (*error_string)(int result);
  int release = 0;
};

// NVRTC opens its builtins library by name. That of CUDA 13 has no RUNPATH to its own folder, so a
// copy outside the loader's folders (a Python package, say) would not find it: opened here first,
// it is there by its soname.
void open_builtins_beside(const std::string& path) {
  std::error_code ignored;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(path).parent_path(), ignored)) {
    if (entry.path().filename().string().rfind("libnvrtc-builtins.so", 0) == 0) {
      dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL);
    }
  }
}

bool open_nvrtc(const std::string& path, Nvrtc* nvrtc, std::string* error) {
  open_builtins_beside(path);
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *error = dlerror();
    return false;
  }
  const struct {
    const char* name;
    void** slot;
  } symbols[] = {
      {"nvrtcVersion", reinterpret_cast<void**>(&nvrtc->version)},
      {"nvrtcCreateProgram", reinterpret_cast<void**>(&nvrtc->create)},
      {"nvrtcCompileProgram", reinterpret_cast<void**>(&nvrtc->compile)},
      {"nvrtcGetProgramLogSize", reinterpret_cast<void**>(&nvrtc->log_size)},
      {"nvrtcGetProgramLog", reinterpret_cast<void**>(&nvrtc->log)},
      {"nvrtcGetCUBINSize", reinterpret_cast<void**>(&nvrtc->cubin_size)},
      {"nvrtcGetCUBIN", reinterpret_cast<void**>(&nvrtc->cubin)},
      {"nvrtcGetPTXSize", reinterpret_cast<void**>(&nvrtc->ptx_size)},
      {"nvrtcGetPTX", reinterpret_cast<void**>(&nvrtc->ptx)},
      {"nvrtcDestroyProgram", reinterpret_cast<void**>(&nvrtc->destroy)},
      {"nvrtcGetErrorString", reinterpret_cast<void**>(&nvrtc->error_string)},
  };
  for (const auto& symbol : symbols) {
    *symbol.slot = dlsym(library, symbol.name);
    if (*symbol.slot == nullptr) {
      *error = path + ": no symbol " + symbol.name + ", expected NVRTC of CUDA 11.1 or later";
      return false;
    }
  }
  int major = 0;
  int minor = 0;
  nvrtc->version(&major, &minor);
  nvrtc->release = major * 1000 + minor * 10;
  return true;
}

bool read_file(const fs::path& path, std::string* text) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  std::ostringstream content;
  content << file.rdbuf();
  *text = content.str();
  return true;
}

// FNV-1a over a source and, depth first, each file it includes with quotes (each once).
void hash_source(const fs::path& directory, const std::string& name, std::set<std::string>* seen,
                 uint64_t* hash) {
  if (!seen->insert(name).second) return;
  std::string text;
  if (!read_file(directory / name, &text)) return;
  for (const unsigned char byte : text) *hash = (*hash ^ byte) * 0x100000001b3u;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const char* const kInclude = "#include \"";
    if (line.rfind(kInclude, 0) != 0) continue;
    const size_t start = strlen(kInclude);
    const size_t end = line.find('"', start);
    if (end != std::string::npos) {
      hash_source(directory, line.substr(start, end - start), seen, hash);
    }
  }
}

// ".version 7.8" -> 78.
uint32_t ptx_isa(const std::string& ptx) {
  const size_t at = ptx.find(".version ");
  if (at == std::string::npos) return 0;
  int major = 0;
  int minor = 0;
  if (std::sscanf(ptx.c_str() + at, ".version %d.%d", &major, &minor) != 2) return 0;
  return static_cast<uint32_t>(major * 10 + minor);
}

// One source for one architecture: fills the image and adds the compiler's words to the log.
std::string compile_one(const Nvrtc& nvrtc, const CompileRequest& request,
                        const std::string& source_name, const std::string& source,
                        const std::string& architecture, std::string* image, std::string* log) {
  const bool is_ptx = architecture.rfind("compute_", 0) == 0;
  std::vector<std::string> options = {"--gpu-architecture=" + architecture, "--std=c++17",
                                      "--include-path=" + request.kernels_directory,
                                      "--device-as-default-execution-space"};
  for (const std::string& definition : request.definitions) options.push_back("-D" + definition);
  std::vector<const char*> values;
  for (const std::string& option : options) values.push_back(option.c_str());

  const std::string subject = source_name + " for " + architecture + ": ";
  Nvrtc::Program program = nullptr;
  int result = nvrtc.create(&program, source.c_str(), source_name.c_str(), 0, nullptr, nullptr);
  if (result != 0) return subject + "nvrtcCreateProgram: " + nvrtc.error_string(result);
  result = nvrtc.compile(program, static_cast<int>(values.size()), values.data());
  size_t log_size = 0;
  if (nvrtc.log_size(program, &log_size) == 0 && log_size > 1) {
    std::string words(log_size, '\0');
    nvrtc.log(program, words.data());
    words.resize(strlen(words.c_str()));
    *log += words;
  }
  std::string error;
  if (result != 0) {
    error = subject + "nvrtcCompileProgram: " + nvrtc.error_string(result);
  } else {
    size_t size = 0;
    result = is_ptx ? nvrtc.ptx_size(program, &size) : nvrtc.cubin_size(program, &size);
    if (result != 0 || size == 0) {
      error = subject + "no code came back, expected " + (is_ptx ? "PTX" : "a cubin");
    } else {
      image->assign(size, '\0');
      result = is_ptx ? nvrtc.ptx(program, image->data()) : nvrtc.cubin(program, image->data());
      if (result != 0) error = subject + nvrtc.error_string(result);
      if (is_ptx && image->back() != '\0') image->push_back('\0');
    }
  }
  nvrtc.destroy(&program);
  return error;
}

void append_length(size_t length, std::string* out) {
  for (; length >= 255; length -= 255) out->push_back('\xff');
  out->push_back(static_cast<char>(length));
}

// One sequence of the LZ4 block format: literals, then a match unless `match` is 0.
void append_sequence(const std::string& image, size_t from, size_t to, size_t distance,
                     size_t match, std::string* out) {
  const size_t literals = to - from;
  const size_t matched = match == 0 ? 0 : match - 4;
  out->push_back(
      static_cast<char>(std::min<size_t>(literals, 15) << 4 | std::min<size_t>(matched, 15)));
  if (literals >= 15) append_length(literals - 15, out);
  out->append(image, from, literals);
  if (match == 0) return;
  out->push_back(static_cast<char>(distance & 255));
  out->push_back(static_cast<char>(distance >> 8));
  if (matched >= 15) append_length(matched - 15, out);
}

// The LZ4 block format (its specification is lz4_Block_format.md), by hash chains: the longest of
// the last 64 places with the same 4 bytes, within 64 KiB.
std::string compressed(const std::string& image) {
  constexpr size_t kHashes = size_t{1} << 16;
  constexpr size_t kNone = ~size_t{0};
  std::vector<size_t> newest(kHashes, kNone);
  std::vector<size_t> older(image.size(), kNone);
  const auto hash_at = [&](size_t at) {
    uint32_t word = 0;
    memcpy(&word, image.data() + at, 4);
    return static_cast<size_t>(word * 2654435761u >> 16);
  };
  const auto remember = [&](size_t at) {
    const size_t hash = hash_at(at);
    older[at] = newest[hash];
    newest[hash] = at;
  };
  std::string out;
  size_t from = 0;
  size_t at = 0;
  const size_t last = image.size() < 16 ? 0 : image.size() - 12;  // no match begins in the last 12
  while (at < last) {
    size_t best = 0;
    size_t best_at = 0;
    size_t candidate = newest[hash_at(at)];
    for (int tries = 0; tries < 64 && candidate != kNone && at - candidate < 65536; ++tries) {
      size_t length = 0;
      const size_t most = image.size() - 5 - at;  // the last 5 bytes are literals
      while (length < most && image[candidate + length] == image[at + length]) ++length;
      if (length > best) {
        best = length;
        best_at = candidate;
      }
      candidate = older[candidate];
    }
    if (best < 4) {
      remember(at++);
      continue;
    }
    append_sequence(image, from, at, at - best_at, best, &out);
    for (const size_t end = at + best; at < end; ++at) {
      if (at < last) remember(at);
    }
    from = at;
  }
  append_sequence(image, from, image.size(), 0, 0, &out);
  return out;
}

void append_record(const std::string& unit, const std::string& architecture, int compiler,
                   uint64_t hash, const std::string& image, bool store, std::string* pack) {
  const bool is_ptx = architecture.rfind("compute_", 0) == 0;
  PackHeader header = {};
  memcpy(header.magic, kPackMagic, sizeof kPackMagic);
  unit.copy(header.unit, kPackUnitBytes - 1);
  header.kind = is_ptx ? SSM_PTX : SSM_CUBIN;
  header.sm = static_cast<uint32_t>(std::atoi(architecture.c_str() + (is_ptx ? 8 : 3)));
  header.compiler = static_cast<uint32_t>(compiler);
  header.ptx_isa = is_ptx ? ptx_isa(image) : 0;
  std::string stored = store ? image : compressed(image);
  if (stored.size() >= image.size()) stored = image;
  header.size_bytes = image.size();
  header.stored_bytes = stored.size();
  header.source_hash = hash;
  pack->append(reinterpret_cast<const char*>(&header), sizeof header);
  pack->append(stored);
  pack->append((16 - stored.size() % 16) % 16, '\0');
}

std::string write_file(const std::string& path, const std::string& content) {
  std::error_code missing;
  const std::filesystem::file_status status = std::filesystem::status(path, missing);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    return path + ": not a regular file, which a new one could replace";
  }
  const std::string temporary = path + ".tmp" + std::to_string(getpid());
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    file.flush();
    if (!file) {
      std::remove(temporary.c_str());
      return temporary + ": cannot write " + std::to_string(content.size()) + " bytes";
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    std::remove(temporary.c_str());
    return path + ": cannot rename a file to it";
  }
  return "";
}

bool is_architecture(const std::string& name) {
  const size_t prefix = name.rfind("sm_", 0) == 0 ? 3 : name.rfind("compute_", 0) == 0 ? 8 : 0;
  if (prefix == 0 || name.size() < prefix + 2 || name.size() > prefix + 3) return false;
  return std::all_of(name.begin() + static_cast<long>(prefix), name.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

struct Unit {
  std::string source_name;
  std::string name;
  std::string source;
  uint64_t hash = 0xcbf29ce484222325u;
};

std::string read_unit(const CompileRequest& request, const std::string& source_name, Unit* unit,
                      std::set<std::string>* inputs) {
  unit->source_name = source_name;
  unit->name = fs::path(source_name).stem().string();
  if (unit->name.size() >= kPackUnitBytes) return source_name + ": unit name too long";
  if (!read_file(fs::path(request.kernels_directory) / source_name, &unit->source)) {
    return request.kernels_directory + "/" + source_name + ": cannot be read";
  }
  std::set<std::string> seen;
  hash_source(request.kernels_directory, source_name, &seen, &unit->hash);
  inputs->insert(seen.begin(), seen.end());
  return "";
}

JobResult compile_image(const Nvrtc& nvrtc, const CompileRequest& request, const Unit& unit,
                        const std::string& architecture) {
  JobResult result;
  std::string image;
  result.error =
      compile_one(nvrtc, request, unit.source_name, unit.source, architecture, &image, &result.log);
  if (!result.error.empty()) return result;
  append_record(unit.name, architecture, nvrtc.release, unit.hash, image, request.store,
                &result.output);
  return result;
}

}  // namespace

CompileReport compile_images(const CompileRequest& request) {
  CompileReport report;
  const auto start = std::chrono::steady_clock::now();
  Nvrtc nvrtc;
  if (!open_nvrtc(request.nvrtc_path, &nvrtc, &report.error)) return report;
  report.compiler = nvrtc.release;
  for (const std::string& architecture : request.architectures) {
    if (!is_architecture(architecture)) {
      report.error = architecture + ": not an architecture, expected sm_NN or compute_NN";
      return report;
    }
  }
  std::vector<Unit> units;
  std::set<std::string> inputs;
  for (const std::string& name : request.sources) {
    Unit unit;
    report.error = read_unit(request, name, &unit, &inputs);
    if (!report.error.empty()) return report;
    units.push_back(std::move(unit));
  }
  const size_t each = request.architectures.size();
  const std::vector<JobResult> results = run_jobs(units.size() * each, [&](size_t index) {
    return compile_image(nvrtc, request, units[index / each], request.architectures[index % each]);
  });
  std::string pack;
  for (const JobResult& result : results) {
    report.log += result.log;
    if (report.error.empty()) report.error = result.error;
    pack += result.output;
  }
  if (!report.error.empty()) return report;
  report.images = static_cast<int>(results.size());
  if (request.output_path.empty()) {
    report.pack = std::move(pack);
  } else {
    report.error = write_file(request.output_path, pack);
  }
  if (report.error.empty() && !request.depfile_path.empty()) {
    std::string rule = request.output_path + ":";
    for (const std::string& input : inputs) rule += " " + request.kernels_directory + "/" + input;
    report.error = write_file(request.depfile_path, rule + "\n");
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

int nvrtc_version(const std::string& nvrtc_path, std::string* error) {
  Nvrtc nvrtc;
  return open_nvrtc(nvrtc_path, &nvrtc, error) ? nvrtc.release : 0;
}

std::vector<std::string> unit_sources(const std::string& kernels_directory) {
  std::vector<std::string> sources;
  std::ifstream file(fs::path(kernels_directory) / "units.txt");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.empty() && line[0] != '#') sources.push_back(line);
  }
  return sources;
}

}  // namespace ssm
