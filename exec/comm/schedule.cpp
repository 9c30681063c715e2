#include "exec/comm/schedule.hpp"

#include <cstring>
#include <iterator>

namespace moesim {
namespace {

template <class Byte>
std::vector<std::span<Byte>> cut_blocks(std::span<Byte> buffer, std::span<const std::int64_t> counts,
                                        std::int64_t unit) {
  std::vector<std::span<Byte>> blocks;
  blocks.reserve(counts.size());
  std::size_t begin = 0;
  for (const std::int64_t count : counts) {
    const auto bytes = static_cast<std::size_t>(count * unit);
    MOESIM_ASSERT(begin + bytes <= buffer.size());
    blocks.push_back(buffer.subspan(begin, bytes));
    begin += bytes;
  }
  MOESIM_ASSERT(begin == buffer.size());
  return blocks;
}

}  // namespace

void run(const LocalStep& step) {
  switch (step.kind) {
    case LocalStep::Kind::kCopy:
      MOESIM_ASSERT(step.into.size() == step.from.size());
      // In place there is nothing to do, and memcpy must not see it.
      if (!step.from.empty() && step.into.data() != step.from.data())
        std::memcpy(step.into.data(), step.from.data(), step.from.size());
      return;
    case LocalStep::Kind::kReduce: return reduce_into(step.how, step.order, step.into, step.from);
    case LocalStep::Kind::kWiden: return widen(step.into, step.from);
    case LocalStep::Kind::kNarrow: return narrow(step.into, step.from);
  }
}

std::span<std::byte> Schedule::add_scratch(std::size_t bytes) {
  scratch.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
  return {scratch.back().get(), bytes};
}

void Schedule::append(Schedule other) {
  std::ranges::move(other.rounds, std::back_inserter(rounds));
  std::ranges::move(other.beside, std::back_inserter(beside));
  std::ranges::move(other.scratch, std::back_inserter(scratch));
}

std::vector<std::span<const std::byte>> cut(std::span<const std::byte> buffer, std::span<const std::int64_t> counts,
                                            std::int64_t unit) {
  return cut_blocks(buffer, counts, unit);
}

std::vector<std::span<std::byte>> cut(std::span<std::byte> buffer, std::span<const std::int64_t> counts,
                                      std::int64_t unit) {
  return cut_blocks(buffer, counts, unit);
}

}  // namespace moesim
