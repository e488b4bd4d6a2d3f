// ssm-compile: the build's front of compile.h.
//   ssm-compile --nvrtc FILE --kernels DIR --arch sm_87 [--arch compute_87 ...] [-D NAME=value]
//               [--store] --output FILE.pack [--depfile FILE.d] SOURCE.cu...
//   ssm-compile --nvrtc FILE --version
#include <cstdio>
#include <cstring>
#include <string>

#include "compile/compile.h"

namespace {

int usage() {
  std::fprintf(stderr,
               "usage: ssm-compile --nvrtc FILE (--version | --kernels DIR --arch ARCH... "
               "[-D NAME=value] [--store] --output FILE SOURCE...)\n");
  return 2;
}

}  // namespace

int main(int argument_count, char** arguments) {
  ssm::CompileRequest request;
  bool version = false;
  for (int i = 1; i < argument_count; ++i) {
    const std::string name = arguments[i];
    const auto is = [&](const char* option) { return name == option && i + 1 < argument_count; };
    if (is("--nvrtc")) {
      request.nvrtc_path = arguments[++i];
    } else if (is("--kernels")) {
      request.kernels_directory = arguments[++i];
    } else if (is("--arch")) {
      request.architectures.push_back(arguments[++i]);
    } else if (is("--output")) {
      request.output_path = arguments[++i];
    } else if (is("--depfile")) {
      request.depfile_path = arguments[++i];
    } else if (is("-D")) {
      request.definitions.push_back(arguments[++i]);
    } else if (name == "--store") {
      request.store = true;
    } else if (name == "--version") {
      version = true;
    } else if (name.rfind("-", 0) == 0) {
      return usage();
    } else {
      request.sources.push_back(name);
    }
  }
  if (request.nvrtc_path.empty()) return usage();
  if (version) {
    std::string error;
    const int release = ssm::nvrtc_version(request.nvrtc_path, &error);
    if (release == 0) {
      std::fprintf(stderr, "error: %s\n", error.c_str());
      return 1;
    }
    std::printf("%d.%d\n", release / 1000, release % 1000 / 10);
    return 0;
  }
  if (request.sources.empty() || request.architectures.empty() || request.output_path.empty()) {
    return usage();
  }
  const ssm::CompileReport report = ssm::compile_images(request);
  if (!report.log.empty()) std::fprintf(stderr, "%s\n", report.log.c_str());
  if (!report.error.empty()) {
    std::fprintf(stderr, "error: %s\n", report.error.c_str());
    return 1;
  }
  return 0;
}
