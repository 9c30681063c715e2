// Every collective over many groups, sizes and number formats, several in flight at once, against results that each rank
// works out alone. All ranks of the world call it together; the first wrong byte is an error.
#pragma once

#include "base/error.hpp"
#include "exec/comm/communicator.hpp"

namespace moesim {

[[nodiscard]] Status check_collectives(Communicator& comm);

// Exchanges alone, by this algorithm, over the same groups and sizes.
[[nodiscard]] Status check_exchanges(Communicator& comm, ExchangeAlgorithm algorithm);

// Messages round the world in both directions, several per pair and channel, received in another order than sent.
[[nodiscard]] Status check_messages(Communicator& comm);

}  // namespace moesim
