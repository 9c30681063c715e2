// Starts a measured collective on this rank: its group among those that run at once, and buffers of the right sizes, which come
// from memory and go there, but for small ones that are sent.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "exec/bench/device_buffer.hpp"
#include "exec/bench/planned_case.hpp"

namespace moesim {

// Sizes that divide evenly over `ranks` in whole FP32 numbers; at least one number for each.
[[nodiscard]] Bytes even_size(Bytes wanted, int ranks);

class CollectiveRunner {
 public:
  // All ranks of the work's groups, and those that are in none, must ask in the same order.
  [[nodiscard]] static Result<CollectiveRunner> create(BenchContext& context, const CollectiveWork& work);
  // Done at once on a rank outside of all groups. A message goes from the first of its group to the second.
  [[nodiscard]] Request start(Channel channel) const;
  // The same message back again.
  [[nodiscard]] Request start_back(Channel channel) const;

 private:
  CollectiveRunner(BenchContext& context, const CollectiveWork& work)
      : context_(&context), kind_(work.kind), exchange_(work.exchange) {}
  [[nodiscard]] Request message(Channel channel, int sender) const;
  [[nodiscard]] std::span<std::byte> sent(const MatricesInTurn& matrices) const;

  BenchContext* context_;
  CollectiveKind kind_;
  ExchangeAlgorithm exchange_;
  std::optional<CommGroup> group_;
  MatricesInTurn whole_;     // buffers of `size` bytes
  MatricesInTurn other_;     // what an exchange receives; one member's block
  DeviceMatrixBuffer made_;  // what a kernel leaves behind
  std::vector<std::int64_t> block_bytes_;
  std::vector<std::int64_t> all_block_bytes_;  // of every member to every other
};

// The sets of groups that layouts of this many ranks use: blocks of neighbours and ranks at equal distances, one set for each way
// to lie on hosts. Example, 4 hosts x 2 ranks: pairs on a host, pairs across hosts, 2 hosts x 2, 4 hosts x 1, all 8.
struct GroupSet {
  std::string name;  // "4 ranks on 2 hosts"
  std::vector<std::vector<RankId>> groups;
};
[[nodiscard]] std::vector<GroupSet> layout_groups(const std::vector<std::string>& hosts);

}  // namespace moesim
