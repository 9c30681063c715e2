// From observations to a profile: which law explains which of them, its parameters, and how far it is off.
//
// First the few physical parameters of each law are fitted to all observations that it explains (fit.hpp). Then, for what was
// measured shape by shape, curves and points are added: collectives by group and size, memory-bound kernels by bytes
// (piecewise_fit.hpp), GEMMs and attention as points between which the law is bent (log_surface.hpp). Parameters serve where
// those end.
//
// `errors` are those of the finished profile over its own observations, and `held_out` those of a profile made from every other
// observation over the rest.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "calibration/import/observations.hpp"
#include "calibration/measurement.hpp"
#include "calibration/profile.hpp"

namespace moesim {

// |predicted / measured - 1| over observations of one kind.
struct KindErrors {
  std::string kind;  // "gemm", "all_to_all", "norm", ...
  int points = 0;
  double median = 0;
  double p90 = 0;
  double bias = 0;  // median of predicted / measured - 1
  int held_out_points = 0;
  double held_out_median = 0;
  double held_out_p90 = 0;
};

struct CalibratedProfile {
  Profile profile;
  std::vector<KindErrors> errors;
  std::vector<std::string> notes;  // what was left out, and what could not be fitted
};

// The cluster says what was measured: its first kind of device, and the links between its ranks. An error when the measured ranks
// do not fit on it.
[[nodiscard]] Result<CalibratedProfile> calibrate(const std::vector<Observations>& files,
                                                  std::shared_ptr<const ClusterView> view);

// The observations as questions to the laws; rows that no law answers carry the reason in `skipped`.
[[nodiscard]] Result<std::vector<Measurement>> measurements_of(const Observations& file,
                                                               const std::shared_ptr<const ClusterView>& view);

// Which rank of the cluster the file's ranks are: hosts are nodes in the order in which they appear. Without hosts
// ranks fill the nodes in order.
[[nodiscard]] Result<std::vector<RankId>> place_ranks(const std::vector<std::string>& hosts, std::size_t ranks,
                                                      const ClusterView& view, const std::string& source);

}  // namespace moesim
