// How the processes of one sweep talk. Rank 0 hands out points and collects rows; nobody else touches a file.
//
// Messages between two processes arrive whole and in order. A transport whose peer has died ends this process too, with a
// reason: there is nothing to go on with, and the journal has all that was finished.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

enum class SweepMessageKind : std::uint8_t {
  kBegin,   // 0 -> worker: the fingerprint of the sweep, which must be the worker's too
  kPoint,   // 0 -> worker: the number of a point to work on
  kRow,     // worker -> 0: row_to_json
  kFailed,  // worker -> 0: it cannot go on; error_to_text
  kStop,    // 0 -> worker: no more
};

struct SweepMessage {
  int from = 0;
  SweepMessageKind kind = SweepMessageKind::kStop;
  std::string body;
};

class SweepTransport {
 public:
  SweepTransport() = default;
  SweepTransport(const SweepTransport&) = delete;
  SweepTransport& operator=(const SweepTransport&) = delete;
  virtual ~SweepTransport() = default;

  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  virtual void send(int to, SweepMessageKind kind, std::string_view body) = 0;
  // What has arrived, if anything; never waits.
  [[nodiscard]] virtual std::optional<SweepMessage> poll() = 0;
};

// One process alone.
class SerialTransport final : public SweepTransport {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  void send(int, SweepMessageKind, std::string_view) override { MOESIM_ASSERT(size() > 1); }
  [[nodiscard]] std::optional<SweepMessage> poll() override { return std::nullopt; }
};

}  // namespace moesim
