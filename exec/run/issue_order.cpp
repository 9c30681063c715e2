#include "exec/run/issue_order.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace moesim {
namespace {

std::size_t index_of(Stream stream) { return static_cast<std::size_t>(stream); }

}  // namespace

IssueOrder::IssueOrder(const Program& program, StageId stage) : program_(program), stage_(stage) {
  deps_.resize(program.blocks.size());
  Counts issued{};
  const std::vector<Call>& calls = program.stages[stage.index()].calls;
  for (std::size_t c = 0; c < calls.size(); ++c) {
    const auto b = static_cast<std::size_t>(calls[c].block);
    const Block& block = program.block_of(calls[c]);
    if (deps_[b].first.empty()) deps_[b] = block_dependencies(block.ops);
    first_item_.push_back(static_cast<std::int32_t>(items_.size()));
    for (std::size_t i = 0; i < block.ops.size(); ++i) {
      const Op& op = block.ops[i];
      Item item{static_cast<std::int32_t>(c), static_cast<std::int32_t>(i), op.stream, -1};
      if (op.wait_streams != 0) {
        Counts wait{};
        for (std::size_t s = 0; s < kStreams; ++s)
          if ((op.wait_streams & stream_bit(static_cast<Stream>(s))) != 0) wait[s] = issued[s];
        item.waits = static_cast<std::int32_t>(waits_.size());
        waits_.push_back(wait);
      }
      ++issued[index_of(op.stream)];
      queues_[index_of(op.stream)].push_back(static_cast<std::int32_t>(items_.size()));
      items_.push_back(item);
    }
  }
  restart();
}

void IssueOrder::restart() {
  started_ = ended_ = Counts{};
  done_.assign(items_.size(), false);
  left_in_call_.clear();
  for (const Call& call : program_.stages[stage_.index()].calls)
    left_in_call_.push_back(static_cast<std::int32_t>(program_.block_of(call).ops.size()));
  ended_items_ = 0;
}

const Call& IssueOrder::call(const Item& item) const {
  return program_.stages[stage_.index()].calls[static_cast<std::size_t>(item.call)];
}
const Block& IssueOrder::block(const Item& item) const { return program_.block_of(call(item)); }
const Op& IssueOrder::op(const Item& item) const {
  return program_.op_at(stage_, static_cast<std::size_t>(item.call), static_cast<std::size_t>(item.op));
}

std::int32_t IssueOrder::startable(Stream stream, Join join) const {
  const std::size_t s = index_of(stream);
  const bool ahead = join == Join::kAhead;
  if (started_[s] == queues_[s].size() || (started_[s] != ended_[s] && !ahead)) return -1;  // nothing left, or busy
  const std::int32_t index = queues_[s][started_[s]];
  const Item& head = item(index);
  const std::int32_t first = first_item_[static_cast<std::size_t>(head.call)];
  const auto deps = deps_[static_cast<std::size_t>(call(head).block)].of(static_cast<std::size_t>(head.op));
  for (const std::uint32_t dep : deps) {
    const std::int32_t before = first + static_cast<std::int32_t>(dep);
    if (!done_[static_cast<std::size_t>(before)] && !(ahead && item(before).stream == stream)) return -1;
  }
  if (head.waits >= 0) {
    const Counts& waits = waits_[static_cast<std::size_t>(head.waits)];
    for (std::size_t other = 0; other < kStreams; ++other)
      if (ended_[other] < waits[other] && !(ahead && other == s)) return -1;
  }
  return index;
}

void IssueOrder::start(std::int32_t index) { ++started_[index_of(item(index).stream)]; }

void IssueOrder::end(std::int32_t index) {
  const Item& ended = item(index);
  ++ended_[index_of(ended.stream)];
  done_[static_cast<std::size_t>(index)] = true;
  --left_in_call_[static_cast<std::size_t>(ended.call)];
  ++ended_items_;
}

std::string IssueOrder::waiting() const {
  std::string text;
  for (std::size_t s = 0; s < kStreams; ++s) {
    if (started_[s] == queues_[s].size() && started_[s] == ended_[s]) continue;
    const std::size_t place = started_[s] != ended_[s] ? started_[s] - 1 : started_[s];
    const Item& head = item(queues_[s][place]);
    text += fmt::format("{}{}: {} {} of micro-batch {}", text.empty() ? "" : ", ", stream_name(static_cast<Stream>(s)),
                        op_kind_name(op(head).kind), op(head).name, call(head).micro_batch);
  }
  return text;
}

}  // namespace moesim
