// Bytes from one rank to another, the layer below the collectives: nonblocking, matched by sender and tag, in order.
//
// The n-th transfer posted for a (sender, tag) receives the n-th sent with it, if that is as long; a shorter one leaves the rest
// of the buffer alone, a longer one is an error. Buffers stay where they are until the transfer is done. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.hpp"
#include "base/ids.hpp"

namespace moesim {

using TransferId = Id<struct TransferTag>;

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  [[nodiscard]] virtual RankId rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual std::string_view host_of(RankId rank) const = 0;
  [[nodiscard]] virtual int largest_tag() const = 0;

  [[nodiscard]] virtual Result<TransferId> send(RankId to, int tag, std::span<const std::byte> data) = 0;
  [[nodiscard]] virtual Result<TransferId> receive(RankId from, int tag, std::span<std::byte> data) = 0;

  // Lets transfers proceed; true: some did. An error here is the end of the world.
  [[nodiscard]] virtual Result<bool> progress() = 0;
  // The bytes moved once the transfer is done, which also forgets its id; nothing before. Looks only, drives nothing.
  [[nodiscard]] virtual Result<std::optional<std::size_t>> take_if_done(TransferId transfer) = 0;

  // See Communicator::abort_all.
  virtual void abort_all(std::string_view reason) = 0;
  // Transfers will stay unfinished: leave without waiting for anyone.
  virtual void give_up() = 0;
};

}  // namespace moesim
