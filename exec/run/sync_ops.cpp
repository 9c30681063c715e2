// Data parallelism and the optimizer: buckets of gradients and parameters, the norm of all gradients, AdamW.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "exec/run/op_table.hpp"
#include "sim/program/guest_traffic.hpp"

namespace moesim {
namespace {

constexpr Reduction kSumFp32{DType::kFp32, ReduceKind::kSum};

// A run of numbers of one parameter's buffer, and its place in a message.
struct Piece {
  std::byte* memory = nullptr;
  std::int64_t bytes = 0;
  std::int64_t offset = 0;
};

// A message put together from pieces of several parameters, and taken apart again.
class Message {
 public:
  void add(const MatrixView& numbers, std::int64_t element_bytes) {
    pieces_.push_back({static_cast<std::byte*>(numbers.data), numbers.columns * element_bytes, size_});
    size_ += numbers.columns * element_bytes;
  }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] Status pack(RankContext& rank, const DeviceBuffer& buffer) const {
    for (const Piece& piece : pieces_) {
      MOESIM_TRY(
          rank.backend.copy(rank.stream, buffer.as<std::byte>() + piece.offset, piece.memory, Bytes(piece.bytes)));
    }
    return {};
  }
  [[nodiscard]] Status unpack(RankContext& rank, const DeviceBuffer& buffer) const {
    for (const Piece& piece : pieces_)
      MOESIM_TRY(
          rank.backend.copy(rank.stream, piece.memory, buffer.as<std::byte>() + piece.offset, Bytes(piece.bytes)));
    return {};
  }

 private:
  std::vector<Piece> pieces_;
  std::int64_t size_ = 0;
};

// Sums numbers over the operation's group where they stand.
Result<CommTask> sum_in_place(const OpContext& c, Message message) {
  RankContext& rank = c.rank();
  CommTask task;
  MOESIM_ASSIGN(BufferPtr buffer, rank.staging.allocate(Bytes(message.size())));
  MOESIM_TRY(message.pack(rank, *buffer));
  task.buffers.push_back(buffer);
  task.requests.push_back(
      rank.comm.all_reduce(rank.group(c.op().group), channel_of(c.op().stream), kSumFp32, buffer->bytes()));
  task.then = [&rank, buffer, message = std::move(message)](CommTask&) { return message.unpack(rank, *buffer); };
  return task;
}

// Of many parameters in one message the small ones, which would each pay for a start. The large ones are sent from where they
// are: putting them into a message and back would take as long as sending them between ranks of one host.
constexpr Bytes kSentAlone{std::int64_t{1} << 20};

struct Bucket {
  std::vector<Parameter*> alone, together;
};
Bucket bucket_of(const OpContext& c) {
  Bucket parameters;
  const WeightBucket& bucket = c.rank().program.buckets[static_cast<std::size_t>(c.op().bucket)];
  for (const TensorId id : bucket.weights) {
    Parameter& parameter = c.rank().parameters.of(bucket.chunk, id);
    // What goes on adding up where it stands has to be copied first.
    const bool stays = parameter.cut >= ZeroStage::kGradients && !parameter.passing_gradient();
    const bool large = storage(parameter.elements(), DType::kFp32) >= kSentAlone;
    (large && !stays ? parameters.alone : parameters.together).push_back(&parameter);
  }
  return parameters;
}

// Of each member, in elements.
std::vector<std::int64_t> owned_parts(const Parameter& parameter, int members) {
  std::vector<std::int64_t> parts;
  for (int owner = 0; owner < members; ++owner)
    parts.push_back(owned_range(parameter.owned_elements(), members, owner).count);
  return parts;
}

// What is summed over the replicas, without guests.
std::span<std::byte> owned_gradient(const Parameter& parameter) {
  return parameter.gradient->bytes().first(
      static_cast<std::size_t>(storage(parameter.owned_elements(), DType::kFp32).count()));
}

Result<CommTask> all_reduce_bucket(const OpContext& c) {
  RankContext& rank = c.rank();
  const Bucket bucket = bucket_of(c);
  Message message;
  for (const Parameter* parameter : bucket.together)
    message.add(part_of(parameter->gradient, DType::kFp32, {0, parameter->owned_elements()}), sizeof(float));
  CommTask task;
  if (message.size() > 0) {
    MOESIM_ASSIGN(task, sum_in_place(c, std::move(message)));
  }
  for (const Parameter* parameter : bucket.alone) {
    task.buffers.push_back(parameter->gradient);
    task.requests.push_back(rank.comm.all_reduce(rank.group(c.op().group), channel_of(c.op().stream), kSumFp32,
                                                 owned_gradient(*parameter)));
  }
  return task;
}

// What has been summed of this rank's part of a gradient.
Status take_sum(RankContext& rank, const Parameter& parameter, const MatrixView& arrived) {
  const MatrixView sum = parameter.own_gradient();
  return parameter.reduced ? rank.backend.add(rank.stream, {sum, arrived, sum})
                           : rank.backend.cast(rank.stream, {arrived, sum});
}

// From ZeRO 2 on every backward pass hands its gradients over and starts again from zero.
Status hand_over(RankContext& rank, Parameter& parameter) {
  if (parameter.passing_gradient()) {
    parameter.gradient.reset();
  } else if (parameter.cut >= ZeroStage::kGradients) {
    return rank.backend.fill_zero(rank.stream, parameter.gradient->data(), parameter.gradient->size());
  }
  return {};
}

// Small gradients of a bucket: each owner gets the sum of its part of every one, one owner behind the other in the message.
Status scatter_together(const OpContext& c, const std::vector<Parameter*>& parameters, CommTask& task) {
  RankContext& rank = c.rank();
  const CommGroup& group = rank.group(c.op().group);
  Message message;
  std::vector<std::int64_t> elements;
  for (int owner = 0; owner < group.size(); ++owner) {
    const std::int64_t before = message.size();
    for (const Parameter* parameter : parameters)
      message.add(
          part_of(parameter->gradient, DType::kFp32, owned_range(parameter->owned_elements(), group.size(), owner)),
          sizeof(float));
    elements.push_back((message.size() - before) / static_cast<std::int64_t>(sizeof(float)));
  }
  MOESIM_ASSIGN(BufferPtr all, rank.staging.allocate(Bytes(message.size())));
  MOESIM_ASSIGN(BufferPtr mine,
                rank.staging.allocate(elements[static_cast<std::size_t>(group.position())], DType::kFp32));
  MOESIM_TRY(message.pack(rank, *all));
  for (Parameter* parameter : parameters) {
    task.buffers.push_back(parameter->gradient);  // the Program's, until they have been reduced; the message is our own
    MOESIM_TRY(hand_over(rank, *parameter));
  }
  task.buffers.insert(task.buffers.end(), {all, mine});
  task.requests.push_back(
      rank.comm.reduce_scatter_v(group, channel_of(c.op().stream), kSumFp32, all->bytes(), mine->bytes(), elements));
  task.then = [&rank, parameters, mine](CommTask&) -> Status {
    std::int64_t next = 0;
    for (const Parameter* parameter : parameters) {
      MOESIM_TRY(take_sum(rank, *parameter, part_of(mine, DType::kFp32, {next, parameter->own.count})));
      next += parameter->own.count;
    }
    return {};
  };
  return {};
}

Result<CommTask> scatter_bucket(const OpContext& c) {
  RankContext& rank = c.rank();
  const Bucket bucket = bucket_of(c);
  const CommGroup& group = rank.group(c.op().group);
  CommTask task;
  if (!bucket.together.empty()) {
    MOESIM_TRY(scatter_together(c, bucket.together, task));
  }
  std::vector<std::pair<const Parameter*, BufferPtr>> arriving;
  for (Parameter* parameter : bucket.alone) {
    MOESIM_ASSIGN(const BufferPtr mine, rank.staging.allocate(parameter->own.count, DType::kFp32));
    task.buffers.insert(task.buffers.end(), {parameter->gradient, mine});
    task.requests.push_back(rank.comm.reduce_scatter_v(group, channel_of(c.op().stream), kSumFp32,
                                                       owned_gradient(*parameter), mine->bytes(),
                                                       owned_parts(*parameter, group.size())));
    arriving.emplace_back(parameter, mine);
    MOESIM_TRY(hand_over(rank, *parameter));
  }
  task.then = [&rank, arriving = std::move(arriving), together = std::move(task.then)](CommTask& ended) -> Status {
    for (const auto& [parameter, mine] : arriving)
      MOESIM_TRY(take_sum(rank, *parameter, part_of(mine, DType::kFp32, {0, parameter->own.count})));
    return together ? together(ended) : Status{};
  };
  return task;
}

// The gradients that TP ranks have parts of, summed whole: each in the place of what its rank holds of the matrix, and of a
// sharded one the own part, among zeros.
Result<CommTask> sum_over_tp(const OpContext& c) {
  RankContext& rank = c.rank();
  Message own;                                                // the parts that count
  std::vector<std::pair<std::int64_t, std::int64_t>> places;  // of each in the whole message: offset, bytes
  std::int64_t size = 0;
  for (const Parameter& parameter : rank.parameters.all()) {
    const Tensor& tensor = parameter.tensor();
    if (!tensor.sums_over_tp) continue;
    constexpr auto kBytes = static_cast<std::int64_t>(sizeof(float));
    own.add(parameter.own_gradient(), sizeof(float));
    const std::int64_t part = rank.at.tp / tensor.tp_copies;
    places.emplace_back(size + (part * parameter.elements() + parameter.own.begin) * kBytes,
                        parameter.own.count * kBytes);
    size += rank.program.plan.sizes().tp / tensor.tp_copies * parameter.elements() * kBytes;
  }
  CommTask task;
  MOESIM_ASSIGN(BufferPtr whole, rank.staging.allocate(Bytes(size)));
  MOESIM_ASSIGN(BufferPtr parts, rank.staging.allocate(Bytes(own.size())));
  MOESIM_TRY(rank.backend.fill_zero(rank.stream, whole->data(), whole->size()));
  MOESIM_TRY(own.pack(rank, *parts));
  std::int64_t next = 0;
  for (const auto& [offset, bytes] : places) {
    MOESIM_TRY(
        rank.backend.copy(rank.stream, whole->as<std::byte>() + offset, parts->as<std::byte>() + next, Bytes(bytes)));
    next += bytes;
  }
  task.buffers = {whole, parts};
  task.requests.push_back(
      rank.comm.all_reduce(rank.group(c.op().group), channel_of(c.op().stream), kSumFp32, whole->bytes()));
  task.then = [&rank, whole, parts, places, own = std::move(own)](CommTask&) -> Status {
    std::int64_t place = 0;
    for (const auto& [offset, bytes] : places) {
      MOESIM_TRY(rank.backend.copy(rank.stream, parts->as<std::byte>() + place, whole->as<std::byte>() + offset,
                                   Bytes(bytes)));
      place += bytes;
    }
    return own.unpack(rank, *parts);
  };
  return task;
}

// DualPipe: stages s and pp-1-s have the gradients of their own micro-batches for the same layers.
Result<CommTask> sum_model_copies(const OpContext& c) {
  const bool experts = c.op().name == "sync.copy_expert_grads";
  Message message;
  for (const Parameter& parameter : c.rank().parameters.all())
    if (parameter.tensor().is_expert_weight() == experts) message.add(parameter.own_gradient(), sizeof(float));
  return sum_in_place(c, std::move(message));
}

// What this rank holds of a table that is both embedding and head: one of the two, or both.
std::vector<Parameter*> tables_of(RankContext& rank) {
  std::vector<Parameter*> tables;
  for (Parameter& parameter : rank.parameters.all())
    if (parameter.is_table()) tables.push_back(&parameter);
  return tables;
}

Result<CommTask> sum_tied_gradients(const OpContext& c) {
  Message message;
  for (const Parameter* table : tables_of(c.rank())) message.add(table->own_gradient(), sizeof(float));
  return sum_in_place(c, std::move(message));
}

// A parameter of a bucket, and where all of it comes to stand: with ZeRO 3 in memory of the pass that reads it.
struct Gathered {
  const Parameter* parameter = nullptr;
  BufferPtr whole;
};

Status gather_together(const OpContext& c, const std::vector<Gathered>& parameters, CommTask& task) {
  RankContext& rank = c.rank();
  const CommGroup& group = rank.group(c.op().group);
  Message own;
  Message all;
  std::vector<std::int64_t> bytes;
  for (int owner = 0; owner < group.size(); ++owner) {
    const std::int64_t before = all.size();
    for (const auto& [parameter, whole] : parameters)
      all.add(part_of(whole, parameter->tensor().type, owned_range(parameter->owned_elements(), group.size(), owner)),
              parameter->element_bytes());
    bytes.push_back(all.size() - before);
  }
  for (const auto& [parameter, whole] : parameters) own.add(parameter->own_value(), parameter->element_bytes());
  MOESIM_ASSIGN(BufferPtr mine, rank.staging.allocate(Bytes(own.size())));
  MOESIM_ASSIGN(BufferPtr everyones, rank.staging.allocate(Bytes(all.size())));
  MOESIM_TRY(own.pack(rank, *mine));
  task.buffers.insert(task.buffers.end(), {mine, everyones});
  task.requests.push_back(
      rank.comm.all_gather_v(group, channel_of(c.op().stream), mine->bytes(), everyones->bytes(), bytes));
  task.then = [&rank, everyones, all = std::move(all)](CommTask&) { return all.unpack(rank, *everyones); };
  return {};
}

Result<CommTask> gather_parameters(const OpContext& c) {
  RankContext& rank = c.rank();
  const WeightBucket& bucket = rank.program.buckets[static_cast<std::size_t>(c.op().bucket)];
  const CommGroup& group = rank.group(c.op().group);
  const GatheredWeights::Place place{c.call(), c.op().second_half, c.op().group};
  const bool for_a_pass = rank.program.plan.zero_of(c.op().group) == ZeroStage::kParameters;
  if (for_a_pass) rank.gathered.make_room(place);
  CommTask task;
  std::vector<Gathered> together;
  std::vector<GatheredWeights::Weight> weights;
  for (const TensorId id : bucket.weights) {
    const Parameter& parameter = rank.parameters.of(bucket.chunk, id);
    BufferPtr whole = parameter.value;
    if (for_a_pass) {
      MOESIM_ASSIGN(whole, rank.tensors.allocate(parameter.elements(), parameter.tensor().type));
      weights.push_back({parameter.chunk->index, id, whole});
    }
    task.buffers.push_back(whole);
    if (whole->size() < kSentAlone) {
      together.push_back({&parameter, whole});
      continue;
    }
    std::vector<std::int64_t> bytes = owned_parts(parameter, group.size());
    for (std::int64_t& part : bytes) part *= parameter.element_bytes();
    const std::span<const std::byte> own{static_cast<const std::byte*>(parameter.own_value().data),
                                         static_cast<std::size_t>(bytes[static_cast<std::size_t>(group.position())])};
    const auto owned = whole->bytes().first(
        static_cast<std::size_t>(storage(parameter.owned_elements(), parameter.tensor().type).count()));
    task.requests.push_back(rank.comm.all_gather_v(group, channel_of(c.op().stream), own, owned, bytes));
  }
  if (for_a_pass) rank.gathered.put(place, std::move(weights));
  if (!together.empty()) {
    MOESIM_TRY(gather_together(c, together, task));
  }
  return task;
}

Result<CommTask> start_grad_norm(const OpContext& c) {
  RankContext& rank = c.rank();
  MOESIM_ASSIGN(const double squares, counted_square_sum(rank));
  const auto sum = std::make_shared<float>(static_cast<float>(squares));
  CommTask task;
  task.requests.push_back(rank.comm.all_reduce(rank.group(c.op().group), channel_of(c.op().stream), kSumFp32,
                                               std::as_writable_bytes(std::span(sum.get(), 1))));
  task.then = [&rank, sum](CommTask&) -> Status {
    rank.gradient_norm = std::sqrt(static_cast<double>(*sum));
    return {};
  };
  return task;
}

}  // namespace

Result<double> counted_square_sum(RankContext& rank) {
  MOESIM_ASSIGN(const BufferPtr sum, rank.staging.allocate(Bytes(sizeof(double))));
  MOESIM_TRY(rank.backend.fill_zero(rank.stream, sum->data(), sum->size()));
  for (const Parameter& parameter : rank.parameters.all()) {
    if (!parameter.counted) continue;
    MOESIM_TRY(rank.backend.square_sum(rank.stream, {parameter.own_gradient(), sum->as<double>()}));
  }
  double squares = 0;
  MOESIM_TRY(rank.backend.copy_out(rank.stream, &squares, sum->data(), sum->size()));
  MOESIM_TRY(rank.backend.synchronize(rank.stream));
  return squares;
}

Result<CommTask> start_synchronisation(const OpContext& c) {
  if (moves_guests(c.op())) return start_guest_transfer(c);
  switch (c.op().kind) {
    case OpKind::kGradNorm: return start_grad_norm(c);
    case OpKind::kGatherParams: return gather_parameters(c);
    default: break;
  }
  if (c.op().group == GroupKind::kTp) return sum_over_tp(c);
  if (c.op().name == "sync.tied_grads") return sum_tied_gradients(c);
  if (c.op().group == GroupKind::kMirror) return sum_model_copies(c);
  return c.rank().program.plan.zero_of(c.op().group) == ZeroStage::kNone ? all_reduce_bucket(c) : scatter_bucket(c);
}

Status add_tied_gradients(const OpContext& c) {
  RankContext& rank = c.rank();
  const std::vector<Parameter*> tables = tables_of(rank);
  MOESIM_ASSERT(tables.size() == 2);
  const MatrixView first = tables[0]->own_gradient();
  const MatrixView second = tables[1]->own_gradient();
  MOESIM_TRY(rank.backend.add(rank.stream, {first, second, first}));
  return rank.backend.copy(rank.stream, second.data, first.data, storage(first.columns, DType::kFp32));
}

Status run_optimizer(const OpContext& c) {
  RankContext& rank = c.rank();
  if (c.op().payload_elements == 0) return {};  // only waits for streams
  if (!rank.gradient_norm) {                    // one rank: there is no operation that sums it up
    MOESIM_ASSIGN(const double squares, counted_square_sum(rank));
    rank.gradient_norm = std::sqrt(squares);
  }
  const float clip = rank.settings.clip_norm;
  const auto norm = static_cast<float>(*rank.gradient_norm);
  const float scale = clip > 0.0F && norm > clip ? clip / norm : 1.0F;
  for (const Parameter& parameter : rank.parameters.all()) {
    if (parameter.tensor().replicas != c.op().group) continue;
    const auto state = [&](const BufferPtr& buffer) { return part_of(buffer, DType::kFp32, {0, parameter.own.count}); };
    MOESIM_TRY(rank.backend.adamw(
        rank.stream, {rank.settings.optimizer, rank.step + 1, scale, parameter.own_gradient(), parameter.own_master(),
                      state(parameter.first), state(parameter.second), parameter.own_value()}));
  }
  return {};
}

}  // namespace moesim
