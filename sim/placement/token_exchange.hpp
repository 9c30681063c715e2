// The exchange of a layer whose dispatcher sends a token once to each node that it visits, and there once to each device
// (DeepEP; DeepSeek-V3, arXiv 2412.19437, section 3.2.2): to the device of the other node that stands in the same place as the source
// does in its own, which passes it on inside the node. A combine is the same turned round, sums taking the place of tokens. Both
// parts run side by side, so the busiest port of the slower tier decides, as everywhere (layer_time.hpp).
//
// Counts of tokens by port are whole numbers, so a swap and its reverse leave them as they were. A swap costs O(rows that name either
// expert, times top-k), a time O(ports).
// Worked, 2 nodes of 2 devices, 4 experts in order, a token of device 0 for experts 0, 1 and 3: 0 -> 1 and 0 -> 2 (place 0 of
// the other node), then 2 -> 3. With expert 2 in place of 1 (experts 0, 2, 3): 0 -> 2 and 2 -> 3, the network carries one either way.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/placement/layer_time.hpp"
#include "sim/placement/token_spread.hpp"

namespace moesim {

class TokenExchange {
 public:
  // `model` and `tokens` must outlive it; sources of the tokens are devices.
  TokenExchange(const LayerTimeModel& model, const TokenSet& tokens, const PlacementDecision& decision);

  // Experts change places; either may be kEmptySlot. `device_a` is where `expert_a` stands.
  void swap(std::int32_t expert_a, std::int32_t device_a, std::int32_t expert_b, std::int32_t device_b);
  // One exchange, dispatch or combine, of so many tokens that are routed as these are.
  [[nodiscard]] double seconds(double tokens) const;
  // The same with the norm of fold.hpp in place of the largest.
  [[nodiscard]] double smoothed(double tokens) const;

 private:
  void put(std::int32_t expert, std::int32_t device, int sign);
  void move(std::int32_t from, std::int32_t to, int sign);
  template <class Fold>
  [[nodiscard]] double folded(double tokens) const;

  const LayerTimeModel* model_;
  const TokenSet* tokens_;
  std::size_t devices_;
  std::vector<std::int32_t> device_of_;    // [expert]; -1: nowhere just now, or shadowed
  std::vector<std::int32_t> first_token_;  // [expert], into token_of_; one more at the end
  std::vector<std::int32_t> token_of_;     // rows that name the expert
  std::vector<std::int32_t> entry_;        // [node][source]: the device that takes in what comes from there
  std::vector<std::size_t> first_port_;    // [tier]
  std::vector<std::int64_t> out_, in_;     // [port], tokens
  std::vector<std::int64_t> pairs_;        // [from][to], where a tier is a mesh
};

}  // namespace moesim
