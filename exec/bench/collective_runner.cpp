#include "exec/bench/collective_runner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace moesim {
namespace {

constexpr Reduction kSum{DType::kFp32, ReduceKind::kSum};

std::span<std::byte> bytes_of(const MatrixView& view) {
  return {static_cast<std::byte*>(view.data), static_cast<std::size_t>(view.columns) * sizeof(float)};
}

// How a group lies on hosts: ranks, hosts, and the most ranks on one.
using Shape = std::tuple<int, int, int>;
Shape shape_of(const std::vector<RankId>& group, const std::vector<std::string>& hosts) {
  std::map<std::string, int> on_host;
  for (const RankId rank : group) ++on_host[hosts[rank.index()]];
  int most = 0;
  for (const auto& [host, ranks] : on_host) most = std::max(most, ranks);
  return {static_cast<int>(group.size()), static_cast<int>(on_host.size()), most};
}

// Groups of `size` ranks that are `stride` apart; together all ranks.
std::vector<std::vector<RankId>> strided_groups(int world, int size, int stride) {
  std::vector<std::vector<RankId>> groups;
  for (int block = 0; block < world; block += size * stride)
    for (int first = block; first < block + stride; ++first) {
      std::vector<RankId>& group = groups.emplace_back();
      for (int i = 0; i < size; ++i) group.emplace_back(first + i * stride);
    }
  return groups;
}

}  // namespace

Bytes even_size(Bytes wanted, int ranks) {
  const std::int64_t unit = static_cast<std::int64_t>(ranks) * static_cast<std::int64_t>(sizeof(float));
  return Bytes(std::max(unit, wanted.count() / unit * unit));
}

Result<CollectiveRunner> CollectiveRunner::create(BenchContext& context, const CollectiveWork& work) {
  CollectiveRunner runner(context, work);
  const auto mine = std::ranges::find_if(work.groups, [&](const std::vector<RankId>& group) {
    return std::ranges::find(group, context.comm.rank()) != group.end();
  });
  if (mine == work.groups.end()) return runner;
  MOESIM_ASSIGN(runner.group_, context.comm.group(*mine));
  const int n = runner.group_->size();
  const std::int64_t elements = work.size.count() / static_cast<std::int64_t>(sizeof(float));
  const bool exchange = work.kind == CollectiveKind::kAllToAll;
  const std::int64_t other = exchange ? elements : elements / n;
  MOESIM_ASSIGN(runner.whole_, MatricesInTurn::make(context, 1, elements, DType::kFp32));
  MOESIM_ASSIGN(runner.other_, MatricesInTurn::make(context, 1, other, DType::kFp32));
  MOESIM_ASSIGN(runner.made_, matrix(context, 1, std::max(elements, other), DType::kFp32));
  const auto members = static_cast<std::size_t>(n);
  runner.block_bytes_.assign(members, work.size.count() / n);
  runner.all_block_bytes_.assign(members * members, work.size.count() / n);
  return runner;
}

Request CollectiveRunner::start(Channel channel) const {
  if (!group_) return {};
  Communicator& comm = context_->comm;
  switch (kind_) {
    case CollectiveKind::kAllReduce: return comm.all_reduce(*group_, channel, kSum, sent(whole_));
    case CollectiveKind::kAllGather: return comm.all_gather(*group_, channel, sent(other_), bytes_of(whole_.next()));
    case CollectiveKind::kReduceScatter:
      return comm.reduce_scatter(*group_, channel, kSum, sent(whole_), bytes_of(other_.next()));
    case CollectiveKind::kAllToAll:
      return comm.all_to_all_v(
          *group_, channel,
          {sent(whole_), block_bytes_, bytes_of(other_.next()), block_bytes_, exchange_, all_block_bytes_});
    case CollectiveKind::kBroadcast: return comm.broadcast(*group_, channel, group_->member(0), sent(whole_));
    case CollectiveKind::kSendRecv: return message(channel, 0);
  }
  return {};
}

// What a kernel has just made lies near to it; gradients and parameters have been there for a while.
std::span<std::byte> CollectiveRunner::sent(const MatricesInTurn& matrices) const {
  constexpr std::size_t kJustMade = std::size_t{1} << 20;
  const std::span<std::byte> bytes = bytes_of(matrices.next());
  return bytes.size() > kJustMade ? bytes : bytes_of(made_.view).first(bytes.size());
}

Request CollectiveRunner::start_back(Channel channel) const { return group_ ? message(channel, 1) : Request(); }

Request CollectiveRunner::message(Channel channel, int sender) const {
  const RankId from = group_->member(sender);
  const RankId to = group_->member(1 - sender);
  if (context_->comm.rank() == from) return context_->comm.send(to, channel, sent(whole_));
  if (context_->comm.rank() == to) return context_->comm.receive(from, channel, bytes_of(whole_.next()));
  return {};
}

std::vector<GroupSet> layout_groups(const std::vector<std::string>& hosts) {
  const int world = static_cast<int>(hosts.size());
  std::vector<GroupSet> sets;
  std::set<Shape> seen;
  for (int size = 2; size <= world; ++size) {
    if (world % size != 0) continue;
    for (int stride = 1; stride <= world / size; ++stride) {
      if (world / size % stride != 0) continue;
      std::vector<std::vector<RankId>> groups = strided_groups(world, size, stride);
      // Where ranks are spread unevenly over hosts, groups of one set lie differently; such sets have no one time.
      const Shape shape = shape_of(groups.front(), hosts);
      if (std::ranges::any_of(groups, [&](const auto& group) { return shape_of(group, hosts) != shape; })) continue;
      if (!seen.insert(shape).second) continue;
      const auto [ranks, on_hosts, most] = shape;
      sets.push_back(
          {fmt::format("{} ranks on {} host{}", ranks, on_hosts, on_hosts == 1 ? "" : "s"), std::move(groups)});
    }
  }
  return sets;
}

}  // namespace moesim
