#include "exec/comm/block_relay.hpp"

namespace moesim {

BlockRelay::BlockRelay(const CommGroup& group, const ConstBlocks& send, const Blocks& receive, const ExchangeMap& map)
    : group_(group), receive_(receive), map_(map), own_(group.position()) {
  for (int to = 0; to < group.size(); ++to) held_[{own_, to}] = send[static_cast<std::size_t>(to)];
  const auto own = static_cast<std::size_t>(own_);
  schedule_.add_round().locals.push_back({.kind = LocalStep::Kind::kCopy, .into = receive[own], .from = send[own]});
}

void BlockRelay::add_phase(const Holder& before, const Holder& after) {
  std::map<int, std::vector<Block>> out;
  std::map<int, std::vector<Block>> in;
  for (int from = 0; from < group_.size(); ++from)
    for (int to = 0; to < group_.size(); ++to) {
      const int a = before(from, to);
      const int b = after(from, to);
      if (a == b || map_.at(from, to) == 0) continue;
      if (a == own_) out[b].emplace_back(from, to);
      if (b == own_) in[a].emplace_back(from, to);
    }
  if (out.empty() && in.empty()) return;
  Round round;
  receive_all(in, round);
  send_all(out, round);
  schedule_.rounds.push_back(std::move(round));
}

void BlockRelay::send_all(const std::map<int, std::vector<Block>>& messages, Round& round) {
  std::vector<LocalStep> packing;
  for (const auto& [to, blocks] : messages) {
    if (blocks.size() == 1) {
      round.sends.push_back({group_.member(to), held_.at(blocks.front())});
      continue;
    }
    const std::span<std::byte> together = schedule_.add_scratch(size_of(blocks));
    std::size_t begin = 0;
    for (const Block& block : blocks) {
      const std::span<const std::byte> part = held_.at(block);
      packing.push_back({.kind = LocalStep::Kind::kCopy, .into = together.subspan(begin, part.size()), .from = part});
      begin += part.size();
    }
    round.sends.push_back({group_.member(to), together});
  }
  // The copies belong before the messages, and so into the round before.
  if (!packing.empty()) schedule_.add_round().locals = std::move(packing);
}

void BlockRelay::receive_all(const std::map<int, std::vector<Block>>& messages, Round& round) {
  for (const auto& [from, blocks] : messages) {
    if (const std::span<std::byte> place = place_of(blocks); !place.empty()) {
      round.receives.push_back({group_.member(from), place});
      continue;
    }
    const std::span<std::byte> arrived = schedule_.add_scratch(size_of(blocks));
    round.receives.push_back({group_.member(from), arrived});
    std::size_t begin = 0;
    for (const Block& block : blocks) {
      const auto part = arrived.subspan(begin, map_.at(block.first, block.second));
      begin += part.size();
      if (block.second == own_)
        round.locals.push_back(
            {.kind = LocalStep::Kind::kCopy, .into = receive_[static_cast<std::size_t>(block.first)], .from = part});
      else
        held_[block] = part;
    }
  }
}

std::span<std::byte> BlockRelay::place_of(const std::vector<Block>& blocks) const {
  const std::span<std::byte> first = receive_[static_cast<std::size_t>(blocks.front().first)];
  const std::byte* end = first.data();
  for (const auto& [from, to] : blocks) {
    const std::span<std::byte> place = receive_[static_cast<std::size_t>(from)];
    if (to != own_ || place.data() != end) return {};
    end = place.data() + place.size();
  }
  return {first.data(), static_cast<std::size_t>(end - first.data())};
}

std::size_t BlockRelay::size_of(const std::vector<Block>& blocks) const {
  std::size_t size = 0;
  for (const auto& [from, to] : blocks) size += map_.at(from, to);
  return size;
}

}  // namespace moesim
