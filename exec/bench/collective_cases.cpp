#include <fmt/format.h>

#include "base/text.hpp"
#include "exec/bench/cases.hpp"
#include "exec/bench/collective_runner.hpp"

namespace moesim {
namespace {

constexpr Channel kChannel(0);

// What our communicator runs (exec/comm/algorithms.hpp).
CollectiveAlgorithm algorithm_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kAllGather:
    case CollectiveKind::kReduceScatter: return CollectiveAlgorithm::kRing;
    case CollectiveKind::kBroadcast: return CollectiveAlgorithm::kTree;
    case CollectiveKind::kAllToAll:
    case CollectiveKind::kSendRecv: break;
  }
  return CollectiveAlgorithm::kPairwise;
}

Result<PreparedCase> prepare(BenchContext& context, const CollectiveWork& work) {
  MOESIM_ASSIGN(const CollectiveRunner runner, CollectiveRunner::create(context, work));
  if (work.kind != CollectiveKind::kSendRecv)
    return PreparedCase{.run = [runner] { return runner.start(kChannel).wait(); }, .finish = {}};
  return PreparedCase{.run = [runner]() -> Status {
                        MOESIM_TRY(runner.start(kChannel).wait());
                        return runner.start_back(kChannel).wait();
                      },
                      .finish = {},
                      .operations = 2};
}

}  // namespace

std::vector<PlannedCase> collective_cases(BenchScale scale, const std::vector<std::string>& hosts) {
  const std::int64_t smallest = scale == BenchScale::kSmall ? 256 : 4096;
  const std::int64_t largest = scale == BenchScale::kSmall ? std::int64_t{16} << 20 : std::int64_t{1} << 30;
  std::vector<PlannedCase> cases;
  for (const GroupSet& set : layout_groups(hosts)) {
    const int ranks = static_cast<int>(set.groups.front().size());
    for (int kind = 0; kind < kCollectiveKinds; ++kind) {
      const auto operation = static_cast<CollectiveKind>(kind);
      if (operation == CollectiveKind::kSendRecv && ranks != 2) continue;
      for (std::int64_t bytes = smallest; bytes <= largest; bytes *= 4) {
        const Bytes size = operation == CollectiveKind::kSendRecv ? Bytes(bytes) : even_size(Bytes(bytes), ranks);
        const CollectiveWork work{
            .kind = operation, .algorithm = algorithm_of(operation), .groups = set.groups, .size = size};
        cases.push_back({.name = fmt::format("{} {}, {}", collective_name(operation), humanize(size), set.name),
                         .work = work,
                         .prepare = [work](BenchContext& context) { return prepare(context, work); }});
      }
    }
  }
  return cases;
}

}  // namespace moesim
