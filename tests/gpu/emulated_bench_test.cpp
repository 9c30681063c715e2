// The cases of moeexec bench with the GPU's backend, one of each kind: that their buffers are the device's, and that the device's
// clock times them.
#include <gtest/gtest.h>

#include <set>

#include "exec/bench/cases.hpp"
#include "exec/bench/measure.hpp"
#include "exec/cuda/cuda_backend.hpp"
#include "exec/cuda/staged_communicator.hpp"
#include "tests/gpu/emulation/cublas.hpp"
#include "tests/unit/exec/comm/local_ranks.hpp"

namespace moesim {
namespace {

// The first case of every kernel, and of every kind of communication.
std::vector<PlannedCase> some_cases(const std::vector<std::string>& hosts) {
  std::set<std::string> seen;
  std::vector<PlannedCase> chosen;
  const std::vector<std::string> families = {"gemm", "grouped", "attention", "memory", "launch", "collectives"};
  std::vector<PlannedCase> all = plan_cases(families, BenchScale::kSmall, hosts).value();
  for (PlannedCase& one : all)
    if (seen.insert(one.name.substr(0, one.name.find(' '))).second) chosen.push_back(std::move(one));
  return chosen;
}

TEST(EmulatedBench, OneCaseOfEachKindIsMeasured) {
  const auto rank_main = [](Communicator& host) -> Result<int> {
    MOESIM_ASSIGN(const auto backend, CudaBackend::make(0, emulation::emulated_cublas()));
    MOESIM_ASSIGN(const auto comm, StagedCommunicator::make(*backend, host));
    MOESIM_ASSIGN(const DeviceStream stream, backend->create_stream());
    BenchContext context{*backend, stream, *comm, real_clock()};
    const std::vector<PlannedCase> cases = some_cases({"here", "here"});
    MeasureOptions options;
    options.rules = {.fewest = 1, .most = 1, .fewest_without_time = 1, .shortest_sample = Seconds(0)};
    const Measured measured = measure(context, cases, options);
    if (measured.error) {
      comm->abort_all(measured.error->what);
      return tl::unexpected(*measured.error);
    }
    for (const BenchCase& one : measured.cases) EXPECT_GT(one.seconds.front(), 0) << one.name;
    EXPECT_EQ(measured.cases.size(), cases.size());
    return static_cast<int>(cases.size());
  };
  for (const Result<int>& rank : run_local_world<int>(local_world(2), rank_main)) {
    ASSERT_TRUE(rank.has_value()) << rank.error().what << " " << rank.error().where;
    EXPECT_GT(*rank, 10);
  }
}

}  // namespace
}  // namespace moesim
