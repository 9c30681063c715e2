// The rows of a micro-batch where kernels can read them: the host's own lists, or a copy in the memory of a device.
#pragma once

#include <utility>

#include "exec/run/batch.hpp"
#include "exec/run/device_memory.hpp"

namespace moesim {

class PlacedRows {
 public:
  // The host's lists, for kernels that read the host's memory.
  explicit PlacedRows(MicroBatchRows rows) : host_(std::move(rows)) {
    tokens = index_view(host_.tokens);
    labels = index_view(host_.labels);
    positions = index_view(host_.positions);
    sequences = index_view(host_.sequences);
    key_positions = index_view(host_.key_positions);
    key_sequences = index_view(host_.key_sequences);
  }
  PlacedRows(const PlacedRows&) = delete;
  PlacedRows& operator=(const PlacedRows&) = delete;

  // Copies them into `memory` and waits until they are there.
  [[nodiscard]] Status move_to_device(ComputeBackend& backend, DeviceStream stream, DeviceMemory& memory) {
    IndexView* const views[] = {&tokens, &labels, &positions, &sequences, &key_positions, &key_sequences};
    std::int64_t count = 0;
    for (const IndexView* view : views) count += view->count;
    MOESIM_ASSIGN(copy_, memory.allocate(count, DType::kInt32));
    auto* next = copy_->as<std::int32_t>();
    for (IndexView* view : views) {
      MOESIM_TRY(backend.copy_in(stream, next, view->data, storage(view->count, DType::kInt32)));
      view->data = next;
      next += view->count;
    }
    return backend.synchronize(stream);
  }

  IndexView tokens, labels, positions, sequences, key_positions, key_sequences;
  // As MicroBatchRows has them: under context parallelism the keys of all ranks.
  [[nodiscard]] TokenPlaces queries() const { return {positions, sequences}; }
  [[nodiscard]] TokenPlaces keys() const { return {key_positions, key_sequences}; }

 private:
  MicroBatchRows host_;
  BufferPtr copy_;
};

// Operations ask for a list of rows by name, wherever it stands.
[[nodiscard]] inline IndexView index_view(const IndexView& view) { return view; }

}  // namespace moesim
