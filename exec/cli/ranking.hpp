// A ranking put to the test: which of the ranked plans are executed.
//
// The fastest as predicted, and a sample of the rest that is spread evenly over their places, the same on every run: a ranking
// is worth little if it only tells apart what is nearly the same. Plans that the executor does not run are passed over.
// Example, the best 2 and 2 of the other 8: places 1, 2, 5 and 9.
#pragma once

#include <string>
#include <vector>

#include "exec/cli/prediction.hpp"
#include "sim/cli/space_options.hpp"

namespace moesim {

struct RankingOptions {
  bool rank = false;
  int top = 5;
  int sample = 5;
  SpaceOptions space;
};
// --rank, --top, --sample, --seq, --global-batch and what narrows the space.
void add_ranking_options(CLI::App& command, Session& session, RankingOptions& options);

struct Candidate {
  PlanFile file;
  std::string path;  // empty: found by the search
};

// Places of the plans to execute, from 0, of `plans` in the order of their predictions.
[[nodiscard]] std::vector<std::size_t> chosen_places(std::size_t plans, int top, int sample);

struct RankedCandidates {
  std::vector<Candidate> chosen;
  std::string note;  // out of how many
};
// Of all plans of the space on the cluster that is named.
[[nodiscard]] Result<RankedCandidates> candidates_of_space(const RankingOptions& options,
                                                           const PredictionOptions& prediction, const JobOptions& job);
// Of the plans given.
[[nodiscard]] Result<RankedCandidates> candidates_of_plans(const RankingOptions& options,
                                                           const PredictionOptions& prediction, const JobOptions& job,
                                                           std::vector<Candidate> plans, const World& world);

}  // namespace moesim
