// Calibration profiles: fitted law parameters of one kind of device, with where they come from, as JSON.
//
// {"device": "A100-PCIe-80GB", "fabric": "",
//  "gemm": {"parameters": {"math_efficiency": 0.81, ...},
//           "provenance": {"origin": "fitted", "source": "...", "range": "...", "residual_median": 0.02,
//                          "residual_p90": 0.05, "points": 183, "date": "2026-11-21"}}, "nvlink": {...}}
// "gemm", "attention", "memory" and "collectives" may hold what was measured shape by shape and size by size (measured_json.hpp); it counts
// for this very device alone.
//
// A section that a profile lacks keeps the estimate by architecture (default_law_parameters). With a
// `fabric`, the "nic" and "collective" sections count only for clusters whose network names that word
// ("slingshot"). For a device without a profile of its own, each section is carried over from the first
// profile of the same architecture and marked estimated; a carried GEMM efficiency is scaled by the two
// devices' best published rates (as shares of their peaks) where both are known.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded.hpp"
#include "base/error.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cost/cost_model.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {

struct ProfileSection {
  std::string name;  // parameter_fields.hpp
  std::vector<std::pair<std::string, double>> parameters;
  MeasuredLaws measured;  // of "gemm", "attention", "memory", "collectives"
  Provenance provenance;  // residual: the median
  double residual_p90 = -1;
  int points = 0;
  std::string date;
};

struct Profile {
  std::string device;
  std::string fabric;
  std::vector<ProfileSection> sections;
};

[[nodiscard]] Result<Profile> parse_profile(std::string_view text, std::string name);
[[nodiscard]] Result<Profile> load_profile(const std::string& path);
[[nodiscard]] std::string profile_json(const Profile& profile);
[[nodiscard]] std::span<const Profile> shipped_profiles();
[[nodiscard]] std::span<const EmbeddedFile> shipped_profile_files();
// Constants of papers, which count only where they are named.
[[nodiscard]] std::span<const EmbeddedFile> published_profile_files();

// The parameters of every device of `view`: `profiles` in order of preference, then the shipped ones.
[[nodiscard]] std::vector<LawParameters> calibrated_parameters(const ClusterView& view,
                                                               std::span<const Profile> profiles = {});
// The cost model that programs use. `view` must outlive it.
[[nodiscard]] CostModel make_cost_model(const ClusterView& view, std::span<const Profile> profiles = {});

}  // namespace moesim
