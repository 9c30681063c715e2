// Experts that move: their weights to all ranks of the EP group, the gradients of these copies back to the owners.
#include <algorithm>
#include <vector>

#include "exec/run/op_table.hpp"

namespace moesim {
namespace {

std::span<const std::int32_t> moved_experts(const OpContext& c) {
  const RankContext& rank = c.rank();
  return rank.program.loads->shadows_in(rank.moe_layer_of[c.op().layer.index()], c.op().cut);
}

std::int64_t local_experts(const OpContext& c) { return c.layer().moe->experts / c.rank().program.plan.sizes().ep; }

// An expert's matrix among others that lie one below the other.
MatrixView nth_matrix(const MatrixView& all, std::int64_t n, std::int64_t rows) {
  return row_range(all, n * rows, rows);
}

// Each expert's matrix from its owner, in place.
Result<CommTask> start_fetch(const OpContext& c) {
  RankContext& rank = c.rank();
  const CommGroup& group = rank.group(c.op().group);
  const std::int64_t local = local_experts(c);
  CommTask task;
  for (int operand = 0; operand < c.op().outputs.size(); ++operand) {
    MOESIM_ASSIGN(const StoredTensor copies, c.out(operand));
    const std::int64_t rows = c.tensor(c.op().outputs[operand]).rows.count;
    const std::size_t bytes = static_cast<std::size_t>(storage(rows * copies.view.columns, copies.view.type).count());
    task.buffers.push_back(copies.buffer);
    std::int64_t n = 0;
    for (const std::int32_t expert : moved_experts(c)) {
      const std::int64_t owner = expert / local;
      if (owner == rank.at.ep) {
        const MatrixView own = nth_matrix(c.in(operand), expert - owner * local, rows);
        const MatrixView place = nth_matrix(copies.view, n, rows);
        MOESIM_TRY(rank.backend.copy(rank.stream, place.data, own.data, Bytes(static_cast<std::int64_t>(bytes))));
      }
      task.requests.push_back(
          rank.comm.broadcast(group, channel_of(c.op().stream), group.member(static_cast<int>(owner)),
                              copies.buffer->bytes().subspan(static_cast<std::size_t>(n) * bytes, bytes)));
      ++n;
    }
  }
  return task;
}

// Experts are in the order of their owners, so that the sums can be scattered. A ring passes the largest block on in each of n - 1
// turns; where few owners have it all an all-reduce, which moves twice the whole in 2 (n - 1) turns of its n-th part, is sooner done.
Result<CommTask> start_return(const OpContext& c) {
  RankContext& rank = c.rank();
  const CommGroup& group = rank.group(c.op().group);
  const std::int64_t local = local_experts(c);
  CommTask task;
  for (int operand = 0; operand < c.op().inputs.size(); ++operand) {
    const BufferPtr gradients = c.in_buffer(operand);
    MOESIM_ASSIGN(const StoredTensor sums, c.out(operand));
    task.buffers.push_back(gradients);
    task.buffers.push_back(sums.buffer);
    const std::int64_t matrix = c.tensor(c.op().outputs[operand]).rows.count * sums.view.columns;
    std::vector<std::int64_t> elements(static_cast<std::size_t>(group.size()), 0);
    for (const std::int32_t expert : moved_experts(c)) elements[static_cast<std::size_t>(expert / local)] += matrix;
    const std::int64_t all = matrix * static_cast<std::int64_t>(moved_experts(c).size());
    constexpr Reduction kSum{DType::kFp32, ReduceKind::kSum};
    const Channel channel = channel_of(c.op().stream);
    if (*std::ranges::max_element(elements) * group.size() > 2 * all) {
      MOESIM_TRY(rank.backend.copy(rank.stream, sums.buffer->data(), gradients->data(), sums.buffer->size()));
      task.requests.push_back(rank.comm.all_reduce(group, channel, kSum, sums.buffer->bytes()));
      continue;
    }
    std::int64_t before = 0;
    for (int member = 0; member < group.position(); ++member) before += elements[static_cast<std::size_t>(member)];
    const auto bytes_of = [](std::int64_t numbers) { return static_cast<std::size_t>(numbers) * sizeof(float); };
    const auto mine =
        sums.buffer->bytes().subspan(bytes_of(before), bytes_of(elements[static_cast<std::size_t>(group.position())]));
    task.requests.push_back(rank.comm.reduce_scatter_v(group, channel, kSum,
                                                       std::span<const std::byte>(gradients->bytes()), mine, elements));
  }
  return task;
}

}  // namespace

Result<CommTask> start_expert_transfer(const OpContext& c) {
  return c.op().kind == OpKind::kFetchExperts ? start_fetch(c) : start_return(c);
}

Status add_expert_grads(const OpContext& c) {
  RankContext& rank = c.rank();
  MOESIM_ASSIGN(const OpContext::GradientTarget target, c.weight_gradient(0));
  const MatrixView gradient = target.view;
  if (target.sum == GradientSum::kSet) {
    MOESIM_TRY(
        rank.backend.fill_zero(rank.stream, gradient.data, storage(gradient.rows * gradient.columns, gradient.type)));
  }
  const std::int64_t rows = c.tensor(c.op().inputs[0]).rows.count;
  const std::int64_t local = local_experts(c);
  std::int64_t n = 0;
  for (const std::int32_t expert : moved_experts(c)) {
    const MatrixView sum = nth_matrix(c.in(0), n++, rows);
    if (expert / local != rank.at.ep) continue;
    const MatrixView own = nth_matrix(gradient, expert % local, rows);
    MOESIM_TRY(rank.backend.add(rank.stream, {own, sum, own}));
  }
  return {};
}

}  // namespace moesim
