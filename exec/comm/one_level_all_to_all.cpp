#include "exec/comm/block_relay.hpp"

namespace moesim {

Schedule one_level_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive,
                              const ExchangeMap& map) {
  const NodePlaces& places = map.places;
  const auto sender = [](int from, int /*to*/) { return from; };
  const auto gathered = [&](int from, int to) { return places.together(from, to) ? to : leader_of(places, from); };
  const auto across = [&](int from, int to) { return places.together(from, to) ? to : leader_of(places, to); };
  const auto receiver = [](int /*from*/, int to) { return to; };
  BlockRelay blocks(group, send, receive, map);
  blocks.add_phase(sender, gathered);
  blocks.add_phase(gathered, across);
  blocks.add_phase(across, receiver);
  return std::move(blocks).finish();
}

}  // namespace moesim
