// GPU code against the GPU and its driver: no-gpu-code, driver-too-old (runtime, PTX).
//
// Which image runs: a cubin of the same major architecture and a minor one not above the device's;
// PTX of any architecture not above. On a Tegra only a cubin of the very architecture (measured on
// Orin: sm_80 code does not run on sm_87) or PTX. An `a` image runs on its own architecture only,
// an `f` image within its family (the same major).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"
#include "base/version.h"
#include "diagnose/context.h"
#include "elf/fatbin.h"
#include "environment/host_tables.h"

namespace ssmend {
namespace {

unsigned number(std::string_view text) {
  unsigned value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

struct WantedGpu {
  unsigned arch = 0;
  bool exact = false;
  std::string source;  // "--gpu", "tegra234 of /proc/device-tree/compatible"
};

WantedGpu wanted_gpu(const DiagnoseContext& context) {
  WantedGpu wanted;
  std::string name = context.options.gpu;
  wanted.source = "--gpu";
  if (name.empty()) {
    name = context.environment().host.gpu_sm.value;
    wanted.source = context.environment().host.gpu_sm.source;
  }
  if (name.rfind("sm_", 0) == 0) name = name.substr(3);
  wanted.arch = number(name);
  const std::vector<std::string>& exact = knowledge().exact_gpu_architectures;
  wanted.exact = std::find(exact.begin(), exact.end(), std::to_string(wanted.arch)) != exact.end();
  return wanted;
}

bool runs(const GpuImage& image, const WantedGpu& gpu) {
  if (image.kernels == 0) return false;  // device-link leftovers
  if (image.suffix == 'a' && image.arch != gpu.arch) return false;
  if (image.kind == GpuImageKind::kPtx) {
    if (image.suffix == 'f' && image.arch / 10 != gpu.arch / 10) return false;
    return image.arch <= gpu.arch;
  }
  if (image.kind != GpuImageKind::kCubin) return false;
  if (gpu.exact) return image.arch == gpu.arch;
  return image.arch / 10 == gpu.arch / 10 && image.arch <= gpu.arch;
}

std::string images_text(const FatBinary& binary) {
  std::set<std::string> names;
  for (const GpuImage& image : binary.images) {
    if (image.kernels == 0) continue;
    std::string name = gpu_image_name(image);
    if (image.kind == GpuImageKind::kPtx) name += " (PTX)";
    names.insert(name);
  }
  return list_some(std::vector<std::string>(names.begin(), names.end()), 12);
}

std::string ptx_version(const GpuImage& image) {
  return fmt::format("{}.{}", image.major, image.minor);
}

// The only code for this GPU is PTX that its driver's compiler is too old for.
void judge_ptx(DiagnoseContext& context, const ModuleState& module, const FatBinary& binary,
               const WantedGpu& gpu) {
  const Probe& cuda = context.environment().host.cuda_driver_api;
  const std::string limit = ptx_version_of_cuda(cuda.value);
  if (!cuda.known() || limit.empty()) return;
  std::string oldest;
  for (const GpuImage& image : binary.images) {
    if (!runs(image, gpu)) continue;
    const std::string version = ptx_version(image);
    if (image.kind != GpuImageKind::kPtx || compare_dotted(version, limit) <= 0) return;
    if (oldest.empty() || compare_dotted(version, oldest) < 0) oldest = version;
  }
  Finding finding = make_finding("driver-too-old");
  describe_module(context, module, &finding);
  finding.title = fmt::format("`{}` has only PTX {} for sm_{}, the driver takes PTX up to {}",
                              module.subject(), oldest, gpu.arch, limit);
  finding.meaning =
      "CUDA error 222 at the first call: the provided PTX was compiled with an unsupported "
      "toolchain.";
  finding.evidence.push_back({"images", images_text(binary)});
  finding.evidence.push_back({"gpu", fmt::format("sm_{}, {}", gpu.arch, gpu.source)});
  finding.evidence.push_back({"driver", fmt::format("CUDA {}, from {}", cuda.value, cuda.source)});
  finding.ruled_out.emplace_back("no code for this GPU at all: the PTX is for it or an older one");
  const std::string name = module.owner == nullptr ? module.subject() : module.owner->name;
  finding.remedies.push_back(
      {fmt::format("build it for this GPU, so that no PTX is needed: `TORCH_CUDA_ARCH_LIST={}.{} "
                   "pip install --no-build-isolation --no-binary :all: {}`",
                   gpu.arch / 10, gpu.arch % 10, name),
       name});
  for (const std::string& remedy : find_code("driver-too-old")->remedies) {
    finding.remedies.push_back({remedy, ""});
  }
  finding.details.emplace_back("ptx", oldest);
  context.add(std::move(finding));
}

void judge_images(DiagnoseContext& context, const ModuleState& module, const WantedGpu& gpu) {
  const Result<FatBinary> binary = read_fat_binary(context.disk, module.file->path);
  if (!binary.ok() || binary->images.empty()) return;
  if (std::any_of(binary->images.begin(), binary->images.end(),
                  [&](const GpuImage& image) { return runs(image, gpu); })) {
    judge_ptx(context, module, *binary, gpu);
    return;
  }
  Finding finding = make_finding("no-gpu-code");
  describe_module(context, module, &finding);
  finding.title = fmt::format("`{}` has no code for sm_{}", module.subject(), gpu.arch);
  finding.evidence.push_back({"images", images_text(*binary)});
  finding.evidence.push_back({"gpu", fmt::format("sm_{}, {}", gpu.arch, gpu.source)});
  if (gpu.exact) {
    finding.evidence.push_back(
        {"rule", fmt::format("on a Tegra only sm_{} itself or PTX runs", gpu.arch)});
  }
  if (!binary->problem.empty()) finding.evidence.push_back({"problem", binary->problem});
  const std::string name = module.owner == nullptr ? module.subject() : module.owner->name;
  finding.remedies.push_back(
      {fmt::format("build it for this GPU: `TORCH_CUDA_ARCH_LIST={}.{} pip install "
                   "--no-build-isolation --no-binary :all: {}`",
                   gpu.arch / 10, gpu.arch % 10, name),
       name});
  const NativeModuleInfo* known = knowledge().native_module(module.name);
  if (known != nullptr && known->in_kernel_library) {
    finding.remedies.push_back(
        {"`ssmend kernels install` where `ssmend kernels which` has an image", "one module file"});
  }
  finding.details.emplace_back("gpu", std::to_string(gpu.arch));
  context.add(std::move(finding));
}

// The CUDA major version that a file's libraries belong to; empty where it needs none.
std::string needed_cuda_major(const ElfFacts& facts) {
  for (const std::string& name : facts.needed) {
    if (name.rfind("libcudart.so.", 0) == 0) return soname_major(name);
  }
  return {};
}

void judge_driver(DiagnoseContext& context) {
  const Probe& cuda = context.environment().host.cuda_driver_api;
  if (!cuda.known()) return;
  const auto judge = [&](const ElfFacts& facts, const std::string& subject) {
    const std::string major = needed_cuda_major(facts);
    if (major.empty() || compare_dotted(cuda.value, major) >= 0) return false;
    Finding finding = make_finding("driver-too-old");
    finding.subject = subject;
    finding.subject_path = facts.path;
    finding.location.path = context.shown(facts.path);
    finding.title = fmt::format("`{}` is built with CUDA {}, the driver speaks up to {}", subject,
                                major, cuda.value);
    finding.evidence.push_back(
        {"needs", fmt::format("libcudart.so.{} ({})", major, context.shown(facts.path))});
    finding.evidence.push_back(
        {"driver", fmt::format("CUDA {}, from {}", cuda.value, cuda.source)});
    for (const std::string& remedy : find_code("driver-too-old")->remedies) {
      finding.remedies.push_back({remedy, ""});
    }
    finding.details.emplace_back("cuda_major", major);
    context.add(std::move(finding));
    return true;
  };
  for (const std::shared_ptr<const ElfFacts>& library : context.torch.libraries) {
    if (judge(*library, "torch")) break;  // one says it for all of torch
  }
  for (const ModuleState& module : context.modules) {
    const bool torch = module.name.rfind("torch.", 0) == 0;
    if (module.ours && !torch && module.importable) judge(*module.facts, module.subject());
  }
}

}  // namespace

void judge_gpu_code(DiagnoseContext& context) {
  judge_driver(context);
  const WantedGpu gpu = wanted_gpu(context);
  if (gpu.arch == 0) {
    if (!context.options.gpu.empty()) {
      context.inspection.not_checked.push_back("GPU code: --gpu " + printable(context.options.gpu) +
                                               " is no architecture such as sm_87");
    } else {
      context.inspection.not_checked.push_back("GPU code: " +
                                               context.environment().host.gpu_sm.source);
    }
    return;
  }
  for (const ModuleState& module : context.modules) {
    if (!module.importable || module.shadowed || module.facts->state != ElfState::kOk) continue;
    if (module.ours && module.facts->has_nv_fatbin) judge_images(context, module, gpu);
  }
}

}  // namespace ssmend
