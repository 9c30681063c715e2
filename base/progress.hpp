// How far a long computation is. Libraries call ProgressSink::update and never print; the program decides what to show.
#pragma once

#include <cstdint>
#include <string_view>

namespace moesim {

class ProgressSink {
 public:
  ProgressSink() = default;
  ProgressSink(const ProgressSink&) = delete;
  ProgressSink& operator=(const ProgressSink&) = delete;
  virtual ~ProgressSink() = default;
  // `total` 0: unknown. `stage` says what is counted, where a computation counts one thing after the other.
  // Callable from any thread, often; cheap when there is nothing to show.
  virtual void update(std::uint64_t done, std::uint64_t total, std::string_view stage) = 0;
};

// For callers that show nothing, and for tests.
class NoProgress final : public ProgressSink {
 public:
  void update(std::uint64_t, std::uint64_t, std::string_view) override {}
};

}  // namespace moesim
