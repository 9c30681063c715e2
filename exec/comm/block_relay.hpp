// Blocks of an all-to-all on their way over other ranks, phase by phase.
//
// In a phase every block is with some member before and with some member after it, by a rule that all members know, and so are the
// sizes; each member then knows which messages it sends and gets and which blocks, in the order of (from, to), are in them. Several
// blocks for one member travel as one message: they are copied together where they do not lie so, and apart at their receiver.
#pragma once

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "exec/comm/algorithms.hpp"

namespace moesim {

class BlockRelay {
 public:
  BlockRelay(const CommGroup& group, const ConstBlocks& send, const Blocks& receive, const ExchangeMap& map);

  // The member that holds the block `from` -> `to`.
  using Holder = std::function<int(int from, int to)>;
  void add_phase(const Holder& before, const Holder& after);
  // After the last phase, when every block is at its receiver.
  [[nodiscard]] Schedule finish() && { return std::move(schedule_); }

 private:
  using Block = std::pair<int, int>;
  void send_all(const std::map<int, std::vector<Block>>& messages, Round& round);
  void receive_all(const std::map<int, std::vector<Block>>& messages, Round& round);
  // Where the blocks of a message arrive if they all end here and lie one behind the other; empty: they do not.
  [[nodiscard]] std::span<std::byte> place_of(const std::vector<Block>& blocks) const;
  [[nodiscard]] std::size_t size_of(const std::vector<Block>& blocks) const;

  const CommGroup& group_;
  const Blocks& receive_;
  const ExchangeMap& map_;
  int own_;
  std::map<Block, std::span<const std::byte>> held_;
  Schedule schedule_;
};

}  // namespace moesim
