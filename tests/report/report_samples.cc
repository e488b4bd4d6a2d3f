#include "report/report_samples.h"

namespace ssmend {
namespace {

const char kSite[] = "/home/ann/venv/lib/python3.10/site-packages";

Probe probe(const char* value, const char* source) {
  Probe probe;
  probe.value = value;
  probe.source = source;
  return probe;
}

Distribution distribution(const char* name, const char* normalized, const char* version) {
  Distribution distribution;
  distribution.name = name;
  distribution.normalized_name = normalized;
  distribution.version = version;
  distribution.site_directory = kSite;
  distribution.metadata_directory = std::string(kSite) + "/" + name + "-" + version + ".dist-info";
  distribution.installer = "pip";
  return distribution;
}

Environment jetson_environment() {
  Environment environment;
  environment.name_for_people = "/home/ann/venv";
  environment.prefix = "/home/ann/venv";
  environment.how_found = "VIRTUAL_ENV";
  environment.python.executable = "/home/ann/venv/bin/python3";
  environment.python.version = "3.10.12";
  environment.python.soabi = "cpython-310-aarch64-linux-gnu";
  environment.python.machine = 183;
  environment.python.standard_library = "/usr/lib/python3.10";
  environment.python.extension_suffixes = {".cpython-310-aarch64-linux-gnu.so", ".abi3.so", ".so"};
  environment.site_directories = {kSite};
  environment.distributions = {
      distribution("torch", "torch", "2.5.0a0+872d972e41.nv24.08"),
      distribution("causal_conv1d", "causal-conv1d", "1.6.0"),
      distribution("mamba_ssm", "mamba-ssm", "2.2.4"),
      distribution("numpy", "numpy", "1.26.4"),
  };
  NativeFile conv;
  conv.path = std::string(kSite) + "/causal_conv1d_cuda.cpython-310-aarch64-linux-gnu.so";
  conv.module_name = "causal_conv1d_cuda";
  conv.suffix = ".cpython-310-aarch64-linux-gnu.so";
  conv.owner = 1;
  NativeFile core;
  core.path = std::string(kSite) + "/numpy/core/_multiarray.so";
  core.module_name = "numpy.core._multiarray";
  core.owner = 3;
  environment.native_files = {conv, core};
  environment.host.l4t = probe("36.4.3", "/etc/nv_tegra_release");
  environment.host.soc = probe("tegra234", "/proc/device-tree/compatible");
  environment.host.gpu_sm = probe("87", "tegra234");
  environment.host.glibc = probe("2.35", "/lib/aarch64-linux-gnu/libc.so.6");
  environment.host.machine = probe("aarch64", "/lib/ld-linux-aarch64.so.1");
  environment.host.distribution = probe("Ubuntu 22.04.5 LTS", "/etc/os-release");
  environment.host.driver.source = "no /proc/driver/nvidia/version";
  return environment;
}

LoadedLibrary library(const std::string& path, const std::string& needed_by) {
  LoadedLibrary library;
  library.path = path;
  library.name = path.substr(path.rfind('/') + 1);
  library.rule = needed_by.empty() ? "" : "ld.so.cache";
  library.needed_by = needed_by;
  return library;
}

Resolution conv_resolution(const std::string& path) {
  Resolution resolution;
  resolution.reason = "libc10.so: cannot open shared object file: No such file or directory";
  const std::string torch = std::string(kSite) + "/torch/lib/libtorch_cpu.so";
  resolution.libraries = {library(path, ""), library(torch, path),
                          library("/lib/aarch64-linux-gnu/libstdc++.so.6", path),
                          library("/lib/aarch64-linux-gnu/libc.so.6", path),
                          library("/usr/lib/aarch64-linux-gnu/libgomp.so.1", torch)};
  MissingLibrary missing;
  missing.name = "libc10.so";
  missing.needed_by = path;
  missing.tried = {{"/lib/libc10.so", "default directories", "no such file"}};
  resolution.missing = {missing};
  missing.needed_by = torch;
  missing.name = "libcupti.so.12";
  resolution.missing.push_back(missing);
  resolution.undefined = {
      {"_ZN3c105ErrorC1ERKSs", "", "c10::Error::Error(std::string const&)", torch}};
  resolution.versions = {{"GLIBC_2.38", torch, "/lib/aarch64-linux-gnu/libc.so.6"}};
  return resolution;
}

CallSite call(const char* file, int line, const char* function, int arguments, const char* text) {
  CallSite site;
  site.relative = file;
  site.path = std::string(kSite) + "/" + file;
  site.line = line;
  site.module = "causal_conv1d_cuda";
  site.function = function;
  site.arguments = arguments;
  site.text = text;
  return site;
}

Finding finding(const char* code, Severity severity, const char* subject, const char* title) {
  Finding finding;
  finding.code = code;
  finding.severity = severity;
  finding.subject = subject;
  finding.title = title;
  return finding;
}

}  // namespace

Inspection jetson_inspection() {
  Inspection inspection;
  inspection.environment = jetson_environment();
  inspection.elf_files_checked = 41;
  inspection.seconds = 0.09;
  const std::string conv = inspection.environment.native_files[0].path;

  Finding drift = finding("call-contract", Severity::kError, "mamba_ssm",
                          "`mamba_ssm` 2.2.4 calls causal_conv1d_fwd with 7 arguments, the "
                          "installed binary takes 8");
  drift.subject_path = std::string(kSite) + "/mamba_ssm/ops/selective_scan_interface.py";
  drift.location = {"mamba_ssm/ops/selective_scan_interface.py", 209};
  drift.evidence = {{"calls", "(x, w, b, None, None, None, True), 2 in this file"},
                    {"binary", "causal_conv1d_cuda: 8 parameters, returns None"}};
  drift.meaning = "TypeError at the first forward pass; import succeeds";
  drift.remedies = {{"`ssmend repair` rewrites the calls", "1 file of mamba_ssm"}};
  drift.links = {"https://github.com/state-spaces/mamba/issues/660", "javascript:alert(1)"};
  drift.details = {{"module", "causal_conv1d_cuda"}};

  Finding missing = finding("missing-library", Severity::kError, "causal_conv1d",
                            "`causal_conv1d_cuda` needs libc10.so, and no file has that name");
  missing.subject_path = conv;
  missing.evidence = {{"searched", "1. RUNPATH: none  2. ld.so.cache  3. /lib:/usr/lib"}};
  missing.ruled_out = {"load order: torch ships no libc10.so"};
  missing.meaning = "\"libc10.so: cannot open shared object file\" at import";

  Finding module = finding("module-missing", Severity::kWarning, "selective_scan_cuda",
                           "`selective_scan_cuda` is imported and not installed");
  Finding order = finding("load-order", Severity::kNote, "causal_conv1d",
                          "`causal_conv1d_cuda` must be imported after torch");
  order.subject_path = conv;
  inspection.findings = {drift, missing, module, order};

  ModuleContract contract;
  contract.module_path = conv;
  contract.functions = {
      {"causal_conv1d_bwd", std::vector<std::string>(12, "at::Tensor const&"), "void", true,
       "rtti"},
      {"causal_conv1d_fwd",
       {"at::Tensor const&", "at::Tensor const&", "std::optional<at::Tensor> const&",
        "std::optional<at::Tensor> const&", "std::optional<at::Tensor> const&", "at::Tensor&",
        "std::optional<at::Tensor>&", "bool"},
       "void",
       true,
       "rtti"}};
  inspection.contracts["causal_conv1d_cuda"] = contract;
  const char* interface = "mamba_ssm/ops/selective_scan_interface.py";
  inspection.call_sites = {
      call(interface, 209, "causal_conv1d_fwd", 7, "(x, w, b, None, None, None, True)"),
      call(interface, 301, "causal_conv1d_fwd", 7, "(x, w, b, None, None, None, True)"),
      call(interface, 318, "causal_conv1d_bwd", 10,
           "(x, w, b, dx, None, None, None, dx, False, True)"),
      call("mamba_ssm/ops/triton/ssd_combined.py", 760, "causal_conv1d_update", 5,
           "(x, s, w, b, True)")};
  inspection.resolutions[conv] = conv_resolution(conv);
  inspection.not_checked = {"GPU code: no driver on this machine"};
  inspection.environment.problems = {"/home/ann/venv/broken.pth: not UTF-8"};
  return inspection;
}

Inspection healthy_inspection() {
  Inspection inspection;
  inspection.environment = jetson_environment();
  inspection.environment.prefix = "/opt/healthy";
  inspection.environment.name_for_people = "/opt/healthy";
  return inspection;
}

Inspection hostile_inspection() {
  const std::string bad =
      "]]></system-out><script>alert('x')</script>\"&\x01\x1b[31m\xff\r\n::error::%0A,:`````|@a #1";
  Inspection inspection = jetson_inspection();
  inspection.environment.name_for_people = bad;
  inspection.environment.prefix = "/" + bad;
  inspection.environment.problems = {bad};
  inspection.not_checked = {bad};
  inspection.environment.distributions[0].version = bad;
  Finding finding;
  finding.code = "bad-file-in-path";
  finding.subject = bad;
  finding.subject_path = "/" + bad;
  finding.title = bad;
  finding.location = {bad, 3};
  finding.evidence = {{bad, bad}};
  finding.ruled_out = {bad};
  finding.meaning = bad;
  finding.remedies = {{bad, bad}};
  finding.links = {"https://example.org/\"><script>alert(2)</script>"};
  finding.details = {{"module", "causal_conv1d_cuda"}};
  inspection.findings = {finding};
  inspection.call_sites[0].text = bad;
  inspection.call_sites[0].relative = bad;
  inspection.resolutions["/" + bad] = Resolution{};
  MissingLibrary missing;
  missing.name = bad;
  inspection.resolutions["/" + bad].missing = {missing};
  inspection.contracts["causal_conv1d_cuda"].functions[1].parameters[0] = bad;
  return inspection;
}

Inspection large_inspection(size_t count) {
  Inspection inspection;
  inspection.environment = jetson_environment();
  for (size_t i = 0; i < count; ++i) {
    Finding one = finding("bad-file-in-path", Severity::kWarning, "damaged",
                          "a file of the environment cannot be read as ELF");
    one.subject_path = std::string(kSite) + "/damaged/file" + std::to_string(i) + ".so";
    one.location = {"damaged/file" + std::to_string(i) + ".so", 0};
    one.evidence = {{"header", "file" + std::to_string(i) +
                                   ".so: section 12 ends at 0x5f0, file "
                                   "has 0x400 bytes"}};
    one.meaning = "importing it fails with \"file too short\"";
    inspection.findings.push_back(one);
  }
  return inspection;
}

std::vector<CheckRow> sample_checks() {
  CheckRow good{"conv1d fwd  bf16  2x64x151 w4 silu", "ok", 0.0039, 0.0156, 0.021, ""};
  CheckRow close{"scan bwd  fp32  2x64x372 n16", "ok", 9.1e-4, 1e-3, 0.31, ""};
  CheckRow wrong{"scan fwd  fp16  2x64x372 n16",         "wrong", 0.2148, 0.002, 0.14,
                 "3 NaN of 47616; first at [1, 17, 371]"};
  CheckRow skipped{"Mamba2  bf16", "not-checked", 0, 0, 0, "triton is not installed"};
  return {good, close, wrong, skipped};
}

}  // namespace ssmend
