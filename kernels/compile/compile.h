// Compiles CUDA device code to cubins and PTX with NVRTC, found and opened at run time, and writes
// an image pack (core/pack.h). The build and `ssmend kernels build` on a target run this same code.
//
// NVRTC makes a cubin without a host compiler, and the kernels include no CUDA header, so a
// libnvrtc of CUDA 11.4 to 13.x is all that is needed (NVRTC user guide: nvrtcGetCUBIN since 11.1).
#pragma once

#include <string>
#include <vector>

namespace ssm {

struct CompileRequest {
  std::string nvrtc_path;                  // a libnvrtc.so.*
  std::string kernels_directory;           // what the sources' includes are relative to
  std::vector<std::string> sources;        // "conv1d/conv1d_forward.cu", relative to the above
  std::vector<std::string> architectures;  // "sm_87" gives a cubin, "compute_87" PTX
  std::vector<std::string> definitions;    // "NAME=value", for experiments
  bool store = false;                      // images as they are, not compressed
  std::string output_path;                 // empty: the pack is only given back
  std::string depfile_path;  // for make and ninja: what the output was made from; empty for none
};

struct CompileReport {
  int compiler = 0;  // 11080
  int images = 0;
  double seconds = 0;
  std::string pack;   // with an empty output_path
  std::string log;    // the compiler's words, also where all went well
  std::string error;  // empty where it did: subject first, then value and rule
};

// Compiles every source for every architecture and writes output_path (a temporary file beside it,
// then rename), or writes nothing and says why.
CompileReport compile_images(const CompileRequest& request);

// The version of the NVRTC at this path (11080), or 0 with the reason in *error.
int nvrtc_version(const std::string& nvrtc_path, std::string* error);

// A libnvrtc on this machine, newest first: CUDA_HOME, /usr/local/cuda*, the Jetson and Debian
// library folders, and the nvidia-cuda-nvrtc packages under the given site-packages folders.
std::vector<std::string> find_nvrtc(const std::vector<std::string>& site_packages);

// The sources of every unit, as listed in kernels/units.txt of that folder.
std::vector<std::string> unit_sources(const std::string& kernels_directory);

}  // namespace ssm
