// By which algorithm ranks exchange token copies: the alternatives of an all-to-all with its own number of bytes per pair. One
// list, read by the plan, the laws (exchange_law.hpp) and the executor (exec/comm/algorithms.hpp).
//
//   linear    one grouped exchange of everyone with everyone (NCCL's grouped send and receive)
//   pairwise  n-1 rounds, in round d with the members d places on and d places back (FasterMoE, PPoPP'22, section 5)
//   1dh       everything for other nodes to the first member of the own node, these exchange, and hand on (HetuMoE, 2022)
//   2dh       over the member of the own node that has the receiver's place there, then across between ranks of equal place
//             (Tutel, MLSys'23, section 4.3; BaGuaLu, PPoPP'22: two-level all-to-all)
//   pipe      rounds as pairwise, those inside the node on a stream beside those across (ScheMoE, EuroSys'24: Pipe-A2A)
//
// Example, 4 nodes of 8, S bytes from every rank, the same to each: linear sends 24 messages of S/32 across, 2dh 3 of S/4.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace moesim {

enum class ExchangeAlgorithm : std::uint8_t { kLinear, kPairwise, kOneLevel, kTwoLevel, kPipe };

[[nodiscard]] std::span<const ExchangeAlgorithm> exchange_algorithms();  // all of them, the default first
[[nodiscard]] std::string_view exchange_algorithm_name(ExchangeAlgorithm algorithm);
[[nodiscard]] std::vector<std::string> exchange_algorithm_names();
// An unknown name: an error that lists the known ones.
[[nodiscard]] Result<ExchangeAlgorithm> find_exchange_algorithm(std::string_view name);

}  // namespace moesim
