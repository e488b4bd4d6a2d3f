// The kernel library as it comes with ssmend: share/ssmend/kernels/<platform tag>/ holds
// manifest.json and the files as they are to lie in an import directory (kernels/python/
// make_payload.py writes the manifest). Nothing is
// downloaded and nothing is run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/disk.h"
#include "environment/environment.h"
#include "repair/plan.h"

namespace ssmend {

struct PayloadComponent {
  std::string name;
  std::string provides_module;     // import name
  std::vector<std::string> files;  // relative to an import directory, and to the payload's folder

  // The library itself, which every module needs.
  [[nodiscard]] bool is_shared() const { return provides_module.empty() || name == "library"; }
};

struct PayloadImage {
  std::string unit;
  std::string kind;  // "cubin", "ptx"
  int sm = 0;
  int compiler = 0;  // as the driver counts: 11080
  int ptx_isa = 0;   // PTX only: 78 for `.version 7.8`
  uint64_t size_bytes = 0;
};

struct Payload {
  std::string directory;     // .../kernels/linux_x86_64
  std::string platform_tag;  // "linux_x86_64"
  std::string name;          // "ssm-kernels"
  std::string version;
  std::string summary;
  std::string machine;     // "x86-64", "aarch64"
  std::string glibc_min;   // "2.27"
  std::string python_min;  // "3.8"
  std::vector<PayloadComponent> components;
  std::vector<PayloadImage> images;
  std::map<std::string, std::string> contents;  // file -> bytes; read by `read_contents`
  std::map<std::string, uint32_t> modes;

  [[nodiscard]] const PayloadComponent* component_for(std::string_view module) const;
};

// Every payload under `directory`, by platform tag. A manifest that is wrong is an error that says
// where.
Result<std::vector<Payload>> load_payloads(const Disk& disk, const std::string& directory);
Result<void> read_contents(const Disk& disk, Payload& payload);

struct PayloadChoice {
  const Payload* payload = nullptr;
  std::string reason;  // why none: "no kernel library for riscv64; there is one for x86-64"
};
PayloadChoice choose_payload(const std::vector<Payload>& payloads, const Environment& environment);

// The files of the components that provide `modules`, and of those that all need, with a dist-info,
// as one action. What is installed already and equal is no change; an action without changes means
// that all is there. `payload` has its contents.
Action install_action(const Disk& disk, const Payload& payload,
                      const std::vector<std::string>& modules, const std::string& site_directory,
                      const std::string& ssmend_version);

}  // namespace ssmend
