// One started operation: runs its schedule over a transport, round by round, and can say whom it waits for.
#pragma once

#include <cstdint>
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
  [[nodiscard]] bool done() const { return next_round_ == schedule_.rounds.size() && !in_round_; }

  // "all_reduce #3 on channel 1 of the group [0 2]"
  [[nodiscard]] std::string name() const;
  // "nothing came from [2], [3] took nothing"
  [[nodiscard]] std::string waits_for() const;

 private:
  [[nodiscard]] Status post_round(Transport& transport);
  [[nodiscard]] Result<bool> look_at_messages(Transport& transport);

  OperationLabel label_;
  Schedule schedule_;
  std::size_t next_round_ = 0;
  bool in_round_ = false;
  std::vector<OutgoingMessage> outgoing_;
  std::vector<IncomingMessage> incoming_;
  std::size_t open_ = 0;  // messages of this round that are not done
};

}  // namespace moesim
