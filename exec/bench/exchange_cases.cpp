// All-to-alls by every algorithm but the first, which the collectives have, over the groups of layouts: of three ranks and more,
// since two have no choice.
#include <fmt/format.h>

#include "base/text.hpp"
#include "exec/bench/cases.hpp"
#include "exec/bench/collective_runner.hpp"

namespace moesim {
namespace {

constexpr Channel kExchangeChannel(0);

Result<PreparedCase> prepare_exchange(BenchContext& context, const CollectiveWork& work) {
  MOESIM_ASSIGN(const CollectiveRunner runner, CollectiveRunner::create(context, work));
  return PreparedCase{.run = [runner] { return runner.start(kExchangeChannel).wait(); }, .finish = {}};
}

}  // namespace

std::vector<PlannedCase> exchange_cases(BenchScale scale, const std::vector<std::string>& hosts) {
  const std::int64_t smallest = scale == BenchScale::kSmall ? 1024 : 16384;
  const std::int64_t largest = scale == BenchScale::kSmall ? std::int64_t{16} << 20 : std::int64_t{1} << 30;
  std::vector<PlannedCase> cases;
  for (const GroupSet& set : layout_groups(hosts)) {
    const int ranks = static_cast<int>(set.groups.front().size());
    if (ranks < 3) continue;
    for (const ExchangeAlgorithm algorithm : exchange_algorithms().subspan(1))
      for (std::int64_t bytes = smallest; bytes <= largest; bytes *= 4) {
        const CollectiveWork work{.kind = CollectiveKind::kAllToAll,
                                  .algorithm = CollectiveAlgorithm::kPairwise,
                                  .groups = set.groups,
                                  .size = even_size(Bytes(bytes), ranks),
                                  .exchange = algorithm};
        cases.push_back({.name = fmt::format("{} by {} {}, {}", collective_name(work.kind),
                                             exchange_algorithm_name(algorithm), humanize(work.size), set.name),
                         .work = work,
                         .prepare = [work](BenchContext& context) { return prepare_exchange(context, work); }});
      }
  }
  return cases;
}

}  // namespace moesim
