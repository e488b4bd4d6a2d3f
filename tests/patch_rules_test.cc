// Rule files: the schema, what a bad one is told, and the conditions on the environment.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/json_schema.h"
#include "patch_fixture.h"

namespace ssmend {
namespace {

class RuleFolder {
 public:
  explicit RuleFolder(const std::string& rule) {
    char name[] = "/tmp/ssmend-rules-XXXXXX";
    path_ = ::mkdtemp(name);
    std::filesystem::copy(SSMEND_SOURCE_DIR "/patches/schema.json", path_ + "/schema.json");
    std::ofstream(path_ + "/a.json") << rule;
  }
  ~RuleFolder() { std::filesystem::remove_all(path_); }
  RuleFolder(const RuleFolder&) = delete;
  RuleFolder& operator=(const RuleFolder&) = delete;

  // The error without the folder's name; empty where the rules load.
  [[nodiscard]] std::string problem() const {
    Result<std::vector<RuleSet>> rules = load_rules(*open_system_disk(), path_);
    return rules ? "" : rules.error().message.substr(path_.size() + 1);
  }

 private:
  std::string path_;
};

std::string rule(const std::string& members) {
  return R"({"schema": "ssmend-patch/1", "id": "a", "why": "because of it")" + members + "}";
}

TEST(PatchRules, every_rule_of_the_repository_loads) {
  EXPECT_GE(repository_rules().size(), 9U);
  for (const RuleSet& one : repository_rules()) {
    EXPECT_FALSE(one.evidence.empty()) << one.id;
    EXPECT_FALSE(one.contains.empty()) << one.id;
  }
}

std::string one_edit(const std::string& members) {
  return rule(", \"edits\": [{\"id\": \"x\", " + members + "}]");
}

TEST(PatchRules, bad_rules_are_told_what_is_wrong) {
  EXPECT_EQ(RuleFolder(rule("")).problem(), "");
  EXPECT_EQ(RuleFolder(rule(", \"edit\": []")).problem(), "a.json: unknown key `edit`");
  EXPECT_EQ(RuleFolder(one_edit("\"match\": \"f($x)\", \"min\": 0")).problem(),
            "a.json: edits[0]: unknown key `min`");
  EXPECT_EQ(RuleFolder(one_edit("\"match\": \"f($x\"")).problem(),
            "a.json: pattern `f($x`: no single Python expression or statement");
  EXPECT_EQ(RuleFolder(one_edit("\"match\": \"f($)\"")).problem(),
            "a.json: pattern `f($)`: `$` without a name at 2");
  EXPECT_EQ(RuleFolder(rule(", \"variants_from\": \"b.json\", \"edits\": []")).problem(),
            "a.json: variants_from names b.json, which is not there");
  EXPECT_EQ(RuleFolder("{").problem().substr(0, 21), "a.json: no valid JSON");
  EXPECT_EQ(
      RuleFolder("{\"schema\": \"ssmend-patch/2\", \"id\": \"a\", \"why\": \"because of it\"}")
          .problem(),
      "a.json: schema: is \"ssmend-patch/2\", expected \"ssmend-patch/1\"");
}

TEST(PatchRules, schema_keywords_that_are_not_checked_are_told) {
  EXPECT_EQ(check_json(R"({"maxItems": 1})", "[]"),
            std::vector<std::string>{"schema keyword `maxItems` is not supported"});
}

class OneFile : public PythonFiles {
 public:
  std::string path, content;
  std::optional<std::string> read(const std::string& relative) const override {
    return relative == path ? std::optional<std::string>(content) : std::nullopt;
  }
};

const char kDistributed[] =
    "import torch\n"
    "if \"all_gather_into_tensor\" not in dir(torch.distributed):\n"
    "    torch.distributed.all_gather_into_tensor = torch.distributed._all_gather_base\n";

std::string patched(const PatchFacts& facts, const std::string& relative, const std::string& text) {
  std::optional<FilePatch> patch = patch_content(repository_rules(), facts, relative, text);
  if (!patch) return "no rule";
  return patch->after.empty() ? state_of(*patch) : patch->after;
}

TEST(PatchRules, torch_distributed_is_guarded_only_where_it_is_known_to_be_missing) {
  const std::string path = "mamba_ssm/distributed/distributed_utils.py";
  PatchFacts facts;
  EXPECT_EQ(patched(facts, path, kDistributed),
            "not-needed: not known whether torch.distributed is there");
  facts.features["torch.distributed"] = true;
  EXPECT_EQ(patched(facts, path, kDistributed), "not-needed: torch.distributed is there");
  facts.features["torch.distributed"] = false;
  const std::string once = patched(facts, path, kDistributed);
  EXPECT_EQ(line_with(once, "if "),
            "if torch.distributed.is_available() and \"all_gather_into_tensor\" not in "
            "dir(torch.distributed):");
  EXPECT_EQ(patched(facts, path, once), "already-applied");
}

TEST(PatchRules, removed_names_are_renamed_for_transformers_5_only) {
  const std::string path = "mamba_ssm/utils/generation.py";
  const std::string text =
      "from transformers.generation import GreedySearchDecoderOnlyOutput, TextStreamer\n";
  PatchFacts facts;
  facts.distributions["transformers"] = "4.57.1";
  EXPECT_EQ(patched(facts, path, text), "not-needed: transformers 4.57.1 is installed");
  facts.distributions["transformers"] = "5.0.0";
  EXPECT_EQ(patched(facts, path, text),
            "from transformers.generation import GenerateDecoderOnlyOutput as "
            "GreedySearchDecoderOnlyOutput, TextStreamer\n");
}

TEST(PatchRules, bare_triton_imports_are_guarded_where_triton_is_absent) {
  const std::string text =
      "from mamba_ssm.ops.triton.layer_norm import _layer_norm_fwd  # norm\n"
      "x = 1\n";
  OneFile files;
  PatchFacts facts;
  facts.files = &files;
  const std::string once = patched(facts, "mamba_ssm/ops/selective_scan_interface.py", text);
  EXPECT_EQ(
      once,
      "try:\n"
      "    from mamba_ssm.ops.triton.layer_norm import _layer_norm_fwd  # norm\n"
      "except ImportError:\n"
      "    class _layer_norm_fwd:\n"
      "        def __init__(self, *args, **kwargs):\n"
      "            raise ImportError(\"_layer_norm_fwd needs Triton, which cannot be imported "
      "here\")\n"
      "x = 1\n");
  EXPECT_EQ(patched(facts, "mamba_ssm/ops/selective_scan_interface.py", once), "already-applied");
  files.path = "triton/__init__.py";
  EXPECT_EQ(patched(facts, "mamba_ssm/ops/selective_scan_interface.py", text),
            "not-needed: triton/__init__.py is there");
}

TEST(PatchRules, an_absent_package_gives_way_to_the_kernel_library) {
  const std::string text =
      "try:\n"
      "    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update\n"
      "except ImportError:\n"
      "    causal_conv1d_fn, causal_conv1d_update = None, None\n";
  OneFile files;
  files.path = "ssm_kernels/__init__.py";
  PatchFacts facts;
  facts.files = &files;
  const std::string once = patched(facts, "mamba_ssm/modules/mamba2.py", text);
  EXPECT_EQ(once,
            "try:\n"
            "    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update\n"
            "except ImportError:\n"
            "    try:\n"
            "        from ssm_kernels import causal_conv1d_fn, causal_conv1d_update\n"
            "    except ImportError:\n"
            "        causal_conv1d_fn, causal_conv1d_update = None, None\n");
  EXPECT_EQ(patched(facts, "mamba_ssm/modules/mamba2.py", once), "no rule");
  files.path = "causal_conv1d/__init__.py";
  EXPECT_EQ(patched(facts, "mamba_ssm/modules/mamba2.py", text),
            "not-needed: causal_conv1d/__init__.py is there");
}

TEST(PatchRules, cpp_functions_are_supplied_for_packages_without_them) {
  const std::string text =
      "try:\n"
      "    from causal_conv1d import causal_conv1d_fn\n"
      "    from causal_conv1d.cpp_functions import causal_conv1d_fwd_function, "
      "causal_conv1d_bwd_function, causal_conv1d_update_function\n"
      "except ImportError:\n"
      "    causal_conv1d_fn = None\n"
      "    causal_conv1d_fwd_function = None\n"
      "    causal_conv1d_bwd_function = None\n"
      "    causal_conv1d_update_function = None\n";
  OneFile files;
  PatchFacts facts = facts_of_contract(repository_rules(), "C").value();
  facts.files = &files;
  const std::string once = patched(facts, "mamba_ssm/ops/x.py", text);
  EXPECT_EQ(line_with(once, "update_function = "), "    causal_conv1d_update_function = None");
  EXPECT_NE(once.find("    def causal_conv1d_bwd_function("), std::string::npos);
  EXPECT_EQ(patched(facts, "mamba_ssm/ops/x.py", once), "already-applied");
  files.path = "causal_conv1d/cpp_functions.py";
  EXPECT_EQ(patched(facts, "mamba_ssm/ops/x.py", text),
            "not-needed: causal_conv1d/cpp_functions.py is there");
}

TEST(PatchRules, a_contract_stands_for_the_files_of_its_releases) {
  const std::string text =
      "try:\n    from causal_conv1d import causal_conv1d_fn\n"
      "    from causal_conv1d.cpp_functions import causal_conv1d_fwd_function, "
      "causal_conv1d_bwd_function\n"
      "except ImportError:\n    causal_conv1d_fn = None\n    causal_conv1d_fwd_function = None\n"
      "    causal_conv1d_bwd_function = None\n";
  for (const char* letter : {"A", "B", "C", "D", "E"}) {
    const FilePatch patch = patch_text(text, letter);
    EXPECT_EQ(state_of(patch), "applied") << letter;
    EXPECT_NE(patch.after.find("def causal_conv1d_bwd_function("), std::string::npos) << letter;
  }
  EXPECT_EQ(state_of(patch_text(text, "F")),
            "not-needed: releases with this contract have causal_conv1d/cpp_functions.py");
}

TEST(PatchRules, an_update_call_that_the_binary_does_not_know_is_refused_with_the_reason) {
  const std::string text =
      "import causal_conv1d_cuda as cc\ny = cc.causal_conv1d_update(x, s, w, b, True, lens)\n";
  EXPECT_EQ(state_of(patch_text(text, "B")),
            "refused: line 2: causal_conv1d_update with cache_seqlens, which the installed binary "
            "does not know (1.4.0 and later do)");
  EXPECT_EQ(line_with(patch_text(text, "E").after, "y = "),
            "y = cc.causal_conv1d_update(x, s, w, b, True, lens, None)");
}

}  // namespace
}  // namespace ssmend
