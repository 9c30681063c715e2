// Guests of experts: the weights of their homes at the beginning of a step, their gradients back at its end.
//
// All weights of a bucket go in one all-to-all-v over the EP group: by the other rank, by weight, then by slot. Sums at home are formed in
// the order of the guests' ranks, so that they repeat.
#include <numeric>
#include <utility>
#include <vector>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

// One expert's matrix of a weight.
struct Matrix {
  Parameter* parameter = nullptr;
  std::int64_t place = 0;  // among the local experts
};
// Of this rank, by the other rank of the EP group: homes of its guests, and guests of its homes.
struct Meetings {
  std::vector<std::vector<Matrix>> homes, guests;
};

Meetings meetings_of(const OpContext& c) {
  RankContext& rank = c.rank();
  const WeightBucket& bucket = rank.program.buckets[static_cast<std::size_t>(c.op().bucket)];
  const auto members = static_cast<std::size_t>(rank.group(c.op().group).size());
  Meetings meetings{std::vector<std::vector<Matrix>>(members), std::vector<std::vector<Matrix>>(members)};
  for (const TensorId id : bucket.weights) {
    Parameter& parameter = rank.parameters.of(bucket.chunk, id);
    const LayerSlots slots = rank.layer_slots(parameter.tensor().layer);
    for (std::int64_t slot = 0; slot < slots.slots(); ++slot) {
      if (!slots.is_guest(slot)) continue;
      const std::int64_t home = slots.home(slots.expert(slot));
      const int guest_at = slots.device_of(slot);
      const int home_at = slots.device_of(home);
      if (home_at == rank.at.ep)
        meetings.homes[static_cast<std::size_t>(guest_at)].push_back({&parameter, slots.place_of(home)});
      if (guest_at == rank.at.ep)
        meetings.guests[static_cast<std::size_t>(home_at)].push_back({&parameter, slots.place_of(slot)});
    }
  }
  return meetings;
}

// Matrices as they lie in their parameters' values or gradients.
enum class Part : std::uint8_t { kValues, kGradients };

class GuestMessage {
 public:
  static Result<GuestMessage> make(RankContext& rank, std::vector<std::vector<Matrix>> matrices, Part part) {
    GuestMessage message;
    message.matrices_ = std::move(matrices);
    message.part_ = part;
    for (const std::vector<Matrix>& of_member : message.matrices_) {
      message.bytes_.push_back(0);
      for (const Matrix& matrix : of_member) message.bytes_.back() += message.view_bytes(matrix);
    }
    const std::int64_t all = std::accumulate(message.bytes_.begin(), message.bytes_.end(), std::int64_t{0});
    MOESIM_ASSIGN(message.buffer_, rank.staging.allocate(Bytes(all)));
    return message;
  }
  [[nodiscard]] const BufferPtr& buffer() const { return buffer_; }
  [[nodiscard]] const std::vector<std::int64_t>& bytes() const { return bytes_; }  // by member

  // `use(in the message, where it lies)` for each matrix.
  template <class Use>
  [[nodiscard]] Status for_each(const Use& use) const {
    std::int64_t next = 0;
    for (const std::vector<Matrix>& of_member : matrices_)
      for (const Matrix& matrix : of_member) {
        const MatrixView lies = view(matrix);
        MatrixView sent = lies;
        sent.data = buffer_->as<std::byte>() + next;
        MOESIM_TRY(use(sent, lies));
        next += view_bytes(matrix);
      }
    return {};
  }

 private:
  [[nodiscard]] MatrixView view(const Matrix& matrix) const {
    const Parameter& parameter = *matrix.parameter;
    const Tensor& tensor = parameter.tensor();
    const MatrixView all = part_ == Part::kValues ? parameter.view_of(parameter.value, tensor.type)
                                                  : parameter.view_of(parameter.gradient, DType::kFp32);
    return row_range(all, matrix.place * tensor.rows.count, tensor.rows.count);
  }
  [[nodiscard]] std::int64_t view_bytes(const Matrix& matrix) const {
    const MatrixView lies = view(matrix);
    return storage(lies.rows * lies.columns, lies.type).count();
  }

  std::vector<std::vector<Matrix>> matrices_;  // [member]
  std::vector<std::int64_t> bytes_;
  Part part_ = Part::kValues;
  BufferPtr buffer_;
};

Bytes bytes_of(const MatrixView& view) { return storage(view.rows * view.columns, view.type); }

}  // namespace

Result<CommTask> start_guest_transfer(const OpContext& c) {
  RankContext& rank = c.rank();
  const bool home = c.op().kind == OpKind::kReduceGrads;  // gradients on their way home
  const Part part = home ? Part::kGradients : Part::kValues;
  Meetings meetings = meetings_of(c);
  MOESIM_ASSIGN(const GuestMessage leaving,
                GuestMessage::make(rank, std::move(home ? meetings.guests : meetings.homes), part));
  MOESIM_ASSIGN(const GuestMessage arriving,
                GuestMessage::make(rank, std::move(home ? meetings.homes : meetings.guests), part));
  const auto take = [&](const MatrixView& sent, const MatrixView& lies) -> Status {
    MOESIM_TRY(rank.backend.copy(rank.stream, sent.data, lies.data, bytes_of(lies)));
    // What the replicas sum next, and the norm counts, is at home.
    return home ? rank.backend.fill_zero(rank.stream, lies.data, bytes_of(lies)) : Status{};
  };
  MOESIM_TRY(leaving.for_each(take));
  CommTask task;
  task.buffers = {leaving.buffer(), arriving.buffer()};
  task.requests.push_back(rank.comm.all_to_all_v(
      rank.group(c.op().group), channel_of(c.op().stream),
      {leaving.buffer()->bytes(), leaving.bytes(), arriving.buffer()->bytes(), arriving.bytes()}));
  task.then = [&rank, home, arriving](CommTask&) {
    return arriving.for_each([&](const MatrixView& sent, const MatrixView& lies) -> Status {
      if (home) return rank.backend.add(rank.stream, {lies, sent, lies});
      return rank.backend.copy(rank.stream, lies.data, sent.data, bytes_of(lies));
    });
  };
  return task;
}

}  // namespace moesim
