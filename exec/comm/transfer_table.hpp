// The transfers in flight of a transport, found by TransferId; ids of finished ones are used again.
#pragma once

#include <utility>
#include <vector>

#include "exec/comm/transport.hpp"

namespace moesim {

template <class Transfer>
class TransferTable {
 public:
  [[nodiscard]] TransferId add(Transfer transfer) {
    if (free_.empty()) {
      transfers_.push_back(std::move(transfer));
      return TransferId(static_cast<std::int32_t>(transfers_.size() - 1));
    }
    const TransferId id = free_.back();
    free_.pop_back();
    transfers_[id.index()] = std::move(transfer);
    return id;
  }
  // The reference lasts until the next add.
  [[nodiscard]] Transfer& operator[](TransferId id) { return transfers_[id.index()]; }
  void remove(TransferId id) { free_.push_back(id); }

 private:
  std::vector<Transfer> transfers_;
  std::vector<TransferId> free_;
};

}  // namespace moesim
