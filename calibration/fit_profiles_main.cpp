// Fits the shipped profiles again: fit_profiles FOLDER OUTPUT reads gemm.csv, collectives.csv and
// moe_layer.csv in FOLDER, writes one profile per device to OUTPUT and prints the residual table of
// docs/laws.md.
//
// A recipe says which rows identify which parameters; parameters that a set of rows cannot identify stay
// estimates.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/file.hpp"
#include "calibration/fit.hpp"
#include "calibration/measurement.hpp"
#include "calibration/profile.hpp"
#include "calibration/rounded.hpp"
#include "models/cluster/device.hpp"

namespace moesim {
namespace {

constexpr std::string_view kDate = "2026-11-21";
constexpr int kDigits = 4;  // of parameters and residuals

struct Recipe {
  std::string_view file;  // of the profile
  std::string_view device;
  std::string_view fabric;
  std::string_view section;               // that carries the provenance
  std::vector<std::string_view> sources;  // source ids of the rows
  std::vector<std::string_view> laws;
  std::string_view variant;  // part of the implementation's name; empty: any
  bool one_node = false;     // rows within a node only
  bool across = false;       // rows over several nodes only
  std::string_view source;
  std::string_view range;
  std::vector<std::pair<std::string_view, std::string_view>> free;
};

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> list = {
      {"h100-sxm5-80gb",
       "H100-SXM5-80GB",
       "",
       "nvlink",
       {"dgxc-nccl", "wh8-h100"},
       {"all_reduce", "all_gather", "reduce_scatter"},
       "",
       true,
       false,
       "nccl-tests: NVIDIA/dgxc-benchmarking (8 GPUs, NVLS) and a 4-GPU slice without NVLS",
       "8 B .. 8 GiB, 4 and 8 GPUs",
       {{"nvlink", "ring_efficiency"},
        {"nvlink", "switch_efficiency"},
        {"nvlink", "ring_step_s"},
        {"nvlink", "pipeline_step_s"},
        {"nvlink", "quick_share"},
        {"nvlink", "long_step_s"},
        {"collective", "base_s"},
        {"collective", "switch_base_s"}}},
      {"h800-sxm5-80gb",
       "H800-SXM5-80GB",
       "",
       "gemm",
       {"deepgemm-Apr2025"},
       {"gemm", "grouped_gemm"},
       "",
       false,
       false,
       "DeepGEMM README @327ec92f (Apr 2025)",
       "FP8, m 64 .. 8192 x 8 groups, n 2112 .. 32768, k 512 .. 16384",
       {{"gemm", "math_efficiency_fp8"},
        {"gemm", "ramp_bytes"},
        {"gemm", "wave_loss"},
        {"gemm", "load_bytes_per_clock"},
        {"gemm", "memory_efficiency"},
        {"gemm", "overhead_s"},
        {"gemm", "epilogue_exposed"}}},
      {"h800-sxm5-80gb",
       "H800-SXM5-80GB",
       "",
       "attention",
       {"deepseek-profile-train"},
       {"attention_forward", "attention_backward"},
       "",
       false,
       false,
       "DeepSeek training profile, MLA 128 heads of 192/128, beside communication",
       "one shape, 4096 tokens",
       {{"attention", "forward_efficiency"}, {"attention", "backward_efficiency"}}},
      {"a100-sxm4-80gb",
       "A100-SXM4-80GB",
       "",
       "nvlink",
       {"vtrain-allreduce-a100"},
       {"all_reduce"},
       "",
       true,
       false,
       "vTrain all-reduce tables, 2 to 8 GPUs behind NVSwitch",
       "1 MiB .. 1 GiB, 2 to 8 GPUs",
       {{"nvlink", "ring_efficiency"},
        {"nvlink", "ring_step_s"},
        {"nvlink", "pipeline_step_s"},
        {"nvlink", "quick_share"},
        {"nvlink", "long_step_s"}}},
      {"a100-pcie-80gb",
       "A100-PCIe-80GB",
       "",
       "gemm",
       {"simumax-a100pcie-ops"},
       {"gemm"},
       "",
       false,
       false,
       "SimuMax efficiency tests (cuBLAS through TransformerEngine), A100-PCIe",
       "BF16, m 512 .. 129280, n 512 .. 129280, k 512 .. 129280",
       {{"gemm", "math_efficiency"},
        {"gemm", "sustained"},
        {"gemm", "sustained_after_s"},
        {"gemm", "ramp_bytes"},
        {"gemm", "wave_loss"},
        {"gemm", "load_bytes_per_clock"},
        {"gemm", "epilogue_exposed"}}},
      {"a100-pcie-80gb",
       "A100-PCIe-80GB",
       "",
       "attention",
       {"simumax-a100pcie-ops"},
       {"attention_forward", "attention_backward"},
       "",
       false,
       false,
       "SimuMax efficiency tests (flash-attention), A100-PCIe",
       "causal 4096 x 4096, 4 to 128 heads of 128 and 192/128",
       {{"attention", "forward_efficiency"},
        {"attention", "backward_efficiency"},
        {"attention", "wide_head_factor"},
        {"attention", "forward_tail"},
        {"attention", "backward_tail"}}},
      {"b200-sxm-180gb",
       "B200-SXM-180GB",
       "",
       "gemm",
       {"simumax-b200-ops"},
       {"gemm"},
       "",
       false,
       false,
       "SimuMax efficiency tests (cuBLAS through TransformerEngine), B200",
       "BF16, m 160 .. 129280, n 160 .. 128384, k 160 .. 128384",
       {{"gemm", "math_efficiency"},
        {"gemm", "sustained"},
        {"gemm", "sustained_after_s"},
        {"gemm", "ramp_bytes"},
        {"gemm", "wave_loss"},
        {"gemm", "load_bytes_per_clock"},
        {"gemm", "epilogue_exposed"}}},
      {"gh200-96gb",
       "GH200-96GB",
       "slingshot",
       "nvlink",
       {"cscs-alps"},
       {"all_reduce"},
       "tuned",
       true,
       false,
       "CSCS Alps nccl-tests, 4 GPUs in a mesh",
       "8 B .. 4 GiB, 4 GPUs",
       {{"nvlink", "ring_efficiency"},
        {"nvlink", "ring_step_s"},
        {"nvlink", "pipeline_step_s"},
        {"nvlink", "quick_share"},
        {"nvlink", "long_step_s"},
        {"collective", "base_s"}}},
      {"gh200-96gb",
       "GH200-96GB",
       "slingshot",
       "nic",
       {"cscs-alps"},
       {"all_reduce"},
       "tuned",
       false,
       true,
       "CSCS Alps nccl-tests, tuned libfabric",
       "8 B .. 4 GiB, 8 to 32 GPUs",
       {{"nic", "ring_efficiency"},
        {"nic", "ring_step_s"},
        {"nic", "tree_step_s"},
        {"nic", "pipeline_step_s"},
        {"nic", "quick_share"},
        {"nic", "long_step_s"}}},
      {"a100-sxm4-40gb",
       "A100-SXM4-40GB",
       "slingshot",
       "nic",
       {"alcf-polaris"},
       {"all_reduce", "all_gather", "alltoall"},
       "aws-ofi-nccl",
       false,
       true,
       "ALCF Polaris nccl-tests, aws-ofi-nccl plugin",
       "4 B .. 1 GiB, 8 and 32 GPUs",
       {{"nic", "ring_efficiency"},
        {"nic", "tree_efficiency"},
        {"nic", "all_to_all_efficiency"},
        {"nic", "ring_step_s"},
        {"nic", "tree_step_s"},
        {"collective", "base_s"},
        {"nic", "peer_step_s"},
        {"nic", "pipeline_step_s"},
        {"nic", "quick_share"},
        {"nic", "long_step_s"}}},
      {"rtx2080ti-11gb",
       "RTX2080Ti-11GB",
       "",
       "pcie",
       {"rtx2080ti"},
       {"all_reduce", "all_gather", "alltoall", "broadcast", "reduce"},
       "",
       true,
       false,
       "nccl-tests on 2 GPUs without peer-to-peer copies (through the host)",
       "8 B .. 1 GiB, 2 GPUs",
       {{"pcie", "ring_efficiency"},
        {"pcie", "all_to_all_efficiency"},
        {"pcie", "one_way_efficiency"},
        {"pcie", "ring_step_s"},
        {"pcie", "peer_step_s"},
        {"pcie", "pipeline_step_s"},
        {"pcie", "quick_share"},
        {"pcie", "long_step_s"},
        {"collective", "base_s"}}},
  };
  return list;
}

bool in(const std::vector<std::string_view>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::vector<Measurement> rows_of(const Recipe& recipe, const std::vector<Measurement>& all) {
  std::vector<Measurement> rows;
  for (const Measurement& row : all) {
    if (!row.skipped.empty() || row.quality != "A" || !in(recipe.sources, row.source) || !in(recipe.laws, row.law))
      continue;
    if (row.variant.find(recipe.variant) == std::string::npos) continue;
    if ((recipe.one_node && row.view->nodes() > 1) || (recipe.across && row.view->nodes() < 2)) continue;
    rows.push_back(row);
  }
  return rows;
}

Profile& profile_named(std::vector<std::pair<std::string, Profile>>& profiles, const Recipe& recipe) {
  for (auto& [file, profile] : profiles)
    if (file == recipe.file) return profile;
  profiles.emplace_back(recipe.file, Profile{std::string(recipe.device), std::string(recipe.fabric), {}});
  return profiles.back().second;
}

void record(const Recipe& recipe, const FitResult& result, Profile& profile) {
  for (const auto& [section_name, field_name] : recipe.free) {
    auto found = std::find_if(profile.sections.begin(), profile.sections.end(),
                              [&name = section_name](const ProfileSection& section) { return section.name == name; });
    if (found == profile.sections.end()) {
      profile.sections.push_back({.name = std::string(section_name),
                                  .parameters = {},
                                  .measured = {},
                                  .provenance = {},
                                  .date = std::string(kDate)});
      found = profile.sections.end() - 1;
    }
    const ParameterSection* known = find_section(section_name);
    found->parameters.emplace_back(
        field_name, rounded(find_field(*known, field_name)->get(result.parameters, known->link), kDigits));
    if (found->provenance.source.empty() || section_name == recipe.section) {
      found->provenance = {Origin::kFitted, std::string(recipe.source), result.residuals.median,
                           std::string(recipe.range)};
      found->provenance.residual = rounded(result.residuals.median, kDigits);
      found->residual_p90 = rounded(result.residuals.p90, kDigits);
      found->points = result.residuals.points;
    }
  }
}

LawParameters start_of(const Recipe& recipe, const Profile& profile) {
  const Result<DeviceSpec> device = find_device(recipe.device);
  LawParameters start = default_law_parameters(*device);
  for (const ProfileSection& section : profile.sections) {
    const ParameterSection* known = find_section(section.name);
    for (const auto& [name, value] : section.parameters) find_field(*known, name)->set(start, known->link, value);
  }
  return start;
}

int run(const std::string& folder, const std::string& output) {
  std::vector<Measurement> all;
  for (const char* file : {"gemm.csv", "collectives.csv", "moe_layer.csv"}) {
    Result<std::vector<Measurement>> rows = read_measurements(folder + "/" + file);
    if (!rows) {
      fmt::print(stderr, "{}: {}\n", rows.error().where, rows.error().what);
      return 1;
    }
    all.insert(all.end(), rows->begin(), rows->end());
  }
  std::vector<std::pair<std::string, Profile>> profiles;
  fmt::print(
      "| device | law | rows | median | p90 | bias | held out: median | p90 "
      "|\n|---|---|---|---|---|---|---|---|\n");
  for (const Recipe& recipe : recipes()) {
    Profile& profile = profile_named(profiles, recipe);
    const FitResult result = fit(start_of(recipe, profile), free_parameters(recipe.free), rows_of(recipe, all));
    record(recipe, result, profile);
    const auto percent = [](double share) { return fmt::format("{:.1f} %", 100 * share); };
    fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} |\n", recipe.device, recipe.section, result.residuals.points,
               percent(result.residuals.median), percent(result.residuals.p90), percent(result.residuals.bias),
               percent(result.held_out.median), percent(result.held_out.p90));
  }
  for (const auto& [file, profile] : profiles) {
    const Status written = write_file_atomically(output + "/" + file + ".json", profile_json(profile));
    if (!written) {
      fmt::print(stderr, "{}: {}\n", written.error().where, written.error().what);
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace moesim

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: fit_profiles FOLDER_OF_MEASUREMENTS OUTPUT_FOLDER\n", stderr);
    return 2;
  }
  return moesim::run(argv[1], argv[2]);
}
