#include "exec/comm/block_relay.hpp"

namespace moesim {

Schedule two_level_all_to_all(const CommGroup& group, const ConstBlocks& send, const Blocks& receive,
                              const ExchangeMap& map) {
  const auto sender = [](int from, int /*to*/) { return from; };
  const auto relay = [&map](int from, int to) { return relay_of(map.places, from, to); };
  const auto receiver = [](int /*from*/, int to) { return to; };
  BlockRelay blocks(group, send, receive, map);
  blocks.add_phase(sender, relay);
  blocks.add_phase(relay, receiver);
  return std::move(blocks).finish();
}

}  // namespace moesim
