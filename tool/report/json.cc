#include <nlohmann/json.hpp>

#include "elf/elf_facts.h"
#include "report/fingerprint.h"
#include "report/report.h"

namespace ssmend {
namespace {

using Json = nlohmann::ordered_json;

Json probe_json(const Probe& probe) {
  Json json;
  json["value"] = probe.known() ? Json(probe.value) : Json(nullptr);
  json["source"] = probe.source;
  return json;
}

Json host_json(const HostFacts& host) {
  Json json;
  json["machine"] = probe_json(host.machine);
  json["distribution"] = probe_json(host.distribution);
  json["glibc"] = probe_json(host.glibc);
  json["loader"] = probe_json(host.loader);
  json["l4t"] = probe_json(host.l4t);
  json["soc"] = probe_json(host.soc);
  json["gpu_sm"] = probe_json(host.gpu_sm);
  json["driver"] = probe_json(host.driver);
  json["cuda_driver_api"] = probe_json(host.cuda_driver_api);
  json["driver_library"] = probe_json(host.driver_library);
  return json;
}

Json finding_json(const Finding& finding, const std::string& fingerprint) {
  Json json;
  json["code"] = finding.code;
  json["fingerprint"] = fingerprint;
  json["severity"] = severity_name(finding.severity);
  json["subject"] = finding.subject;
  json["subject_path"] = finding.subject_path;
  json["title"] = finding.title;
  json["location"] = {{"path", finding.location.path}, {"line", finding.location.line}};
  json["evidence"] = Json::array();
  for (const Evidence& evidence : finding.evidence) {
    json["evidence"].push_back({{"label", evidence.label}, {"text", evidence.text}});
  }
  json["ruled_out"] = finding.ruled_out;
  json["meaning"] = finding.meaning;
  json["remedies"] = Json::array();
  for (const Remedy& remedy : finding.remedies) {
    json["remedies"].push_back({{"text", remedy.text}, {"changes", remedy.changes}});
  }
  json["links"] = finding.links;
  json["details"] = Json::array();
  for (const auto& [name, value] : finding.details) {
    json["details"].push_back({{"name", name}, {"value", value}});
  }
  return json;
}

Json python_json(const PythonInterpreter& python) {
  Json json;
  json["executable"] = python.executable;
  json["version"] = python.version;
  json["soabi"] = python.soabi;
  json["machine"] = python.machine == 0 ? Json(nullptr) : Json(machine_name(python.machine));
  json["standard_library"] = python.standard_library;
  json["extension_suffixes"] = python.extension_suffixes;
  return json;
}

Json distributions_json(const Environment& environment) {
  Json list = Json::array();
  for (const Distribution& distribution : environment.distributions) {
    list.push_back({{"name", distribution.name},
                    {"version", distribution.version},
                    {"metadata", distribution.metadata_directory},
                    {"installer", distribution.installer},
                    {"editable", distribution.editable},
                    {"shadowed", distribution.shadowed},
                    {"problems", distribution.problems}});
  }
  return list;
}

Json native_files_json(const Environment& environment) {
  Json list = Json::array();
  for (const NativeFile& file : environment.native_files) {
    const bool owned = file.owner >= 0;
    list.push_back(
        {{"path", file.path},
         {"module", file.module_name},
         {"owner", owned ? Json(environment.distributions[static_cast<size_t>(file.owner)].name)
                         : Json(nullptr)}});
  }
  return list;
}

Json contracts_json(const Inspection& inspection) {
  Json json = Json::object();
  for (const auto& [module, contract] : inspection.contracts) {
    Json functions = Json::array();
    for (const BoundFunction& function : contract.functions) {
      functions.push_back({{"name", function.name},
                           {"parameters", function.parameters},
                           {"arity_known", function.arity_known},
                           {"returns", function.return_type},
                           {"witness", function.witness}});
    }
    json[module] = {{"path", contract.module_path},
                    {"accepts_every_contract", contract.accepts_every_contract},
                    {"functions", functions}};
  }
  return json;
}

Json call_sites_json(const Inspection& inspection) {
  Json list = Json::array();
  for (const CallSite& call : inspection.call_sites) {
    list.push_back({{"path", call.relative},
                    {"line", call.line},
                    {"module", call.module},
                    {"function", call.function},
                    {"arguments", call.arguments},
                    {"text", call.text}});
  }
  return list;
}

Json inspection_json(const Inspection& inspection) {
  const Environment& environment = inspection.environment;
  Json json;
  json["environment"] = environment.prefix;
  json["how_found"] = environment.how_found;
  json["python"] = python_json(environment.python);
  json["site_directories"] = environment.site_directories;
  json["host"] = host_json(environment.host);
  json["findings"] = Json::array();
  const std::vector<std::string> prints = finding_fingerprints(inspection);
  for (size_t i = 0; i < inspection.findings.size(); ++i) {
    json["findings"].push_back(finding_json(inspection.findings[i], prints[i]));
  }
  json["contracts"] = contracts_json(inspection);
  json["call_sites"] = call_sites_json(inspection);
  json["distributions"] = distributions_json(environment);
  json["native_files"] = native_files_json(environment);
  json["problems"] = environment.problems;
  json["not_checked"] = inspection.not_checked;
  json["elf_files_checked"] = inspection.elf_files_checked;
  json["seconds"] = inspection.seconds;
  return json;
}

}  // namespace

std::string render_json(const std::vector<Inspection>& inspections) {
  Json json;
  json["schema"] = "ssmend/inspection/1";
  json["inspections"] = Json::array();
  for (const Inspection& inspection : inspections) {
    json["inspections"].push_back(inspection_json(inspection));
  }
  json["errors"] = count_findings(inspections, Severity::kError);
  json["warnings"] = count_findings(inspections, Severity::kWarning);
  json["notes"] = count_findings(inspections, Severity::kNote);
  // File names need not be UTF-8; such bytes become U+FFFD rather than an exception.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ssmend
