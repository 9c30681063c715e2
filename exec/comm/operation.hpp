// One started operation: runs its schedule over a transport, round by round in each of its streams, and can say whom it waits for.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "exec/comm/message.hpp"
#include "exec/comm/schedule.hpp"
#include "exec/comm/transport.hpp"

namespace moesim {

struct OperationLabel {
  MessageHeader header;  // what all its messages carry
  int tag = 0;
  std::vector<RankId> ranks;  // of the group, or the two ends of a message: from, to
};

class Operation {
 public:
  Operation(OperationLabel label, Schedule schedule);

  [[nodiscard]] Status start(Transport& transport);
  // Looks at what has arrived and goes on as far as that allows; true: it went on.
  [[nodiscard]] Result<bool> advance(Transport& transport);
  [[nodiscard]] bool done() const {
    return std::all_of(streams_.begin(), streams_.end(), [](const Stream& stream) { return stream.done(); });
  }

  // "all_reduce #3 on channel 1 of the group [0 2]"
  [[nodiscard]] std::string name() const;
  // "nothing came from [2], [3] took nothing"
  [[nodiscard]] std::string waits_for() const;

 private:
  struct Stream {
    std::span<const Round> rounds;
    std::size_t next_round = 0;
    bool in_round = false;
    std::vector<OutgoingMessage> outgoing;
    std::vector<IncomingMessage> incoming;
    std::size_t open = 0;  // messages of this round that are not done
    [[nodiscard]] bool done() const { return next_round == rounds.size() && !in_round; }
  };
  [[nodiscard]] Status post_round(Transport& transport, Stream& stream);
  [[nodiscard]] Result<bool> look_at_messages(Transport& transport, Stream& stream);
  [[nodiscard]] Result<bool> advance(Transport& transport, Stream& stream);

  OperationLabel label_;
  Schedule schedule_;
  std::array<Stream, 2> streams_;
};

}  // namespace moesim
