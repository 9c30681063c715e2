#include "exec/comm/host_communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <numeric>
#include <thread>

#include "exec/comm/algorithms.hpp"

namespace moesim {
namespace {

constexpr int kChannelBits = std::bit_width(static_cast<unsigned>(kChannels - 1));
// A tag, from the top: collective or message, channel, group. Two groups of a rank share the group's part once in 2^27 pairs.
constexpr int kMostGroupBits = 26;
constexpr int kFewestGroupBits = 16;

class StartedOperation final : public PendingOperation {
 public:
  StartedOperation(HostCommunicator& communicator, std::shared_ptr<Operation> operation)
      : communicator_(communicator), operation_(std::move(operation)) {}
  [[nodiscard]] Result<bool> test() override { return communicator_.test(*operation_); }
  [[nodiscard]] Status wait() override { return communicator_.wait(*operation_); }

 private:
  HostCommunicator& communicator_;
  std::shared_ptr<Operation> operation_;
};

// Wrong from the start.
class RefusedOperation final : public PendingOperation {
 public:
  explicit RefusedOperation(Error error) : error_(std::move(error)) {}
  [[nodiscard]] Result<bool> test() override { return tl::unexpected(error_); }
  [[nodiscard]] Status wait() override { return tl::unexpected(error_); }

 private:
  Error error_;
};

Request refuse(std::string what) {
  return Request(std::make_shared<RefusedOperation>(Error{ErrorKind::kInternal, std::move(what), {}, {}}));
}

bool valid(Channel channel) { return channel.valid() && channel.value() < kChannels; }

// Empty: `counts` of `unit` bytes for each member fill a buffer of `size` bytes.
std::string fault_of(const CommGroup& group, std::span<const std::int64_t> counts, std::int64_t unit, std::size_t size,
                     std::string_view what) {
  if (static_cast<int>(counts.size()) != group.size())
    return fmt::format("{}: {} counts for the {} members of {}", what, counts.size(), group.size(),
                       ranks_to_text(group.members()));
  if (std::ranges::any_of(counts, [](std::int64_t count) { return count < 0; }))
    return fmt::format("{}: a count below 0", what);
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) * unit;
  if (total != static_cast<std::int64_t>(size))
    return fmt::format("{}: the counts make {} bytes, the buffer has {}", what, total, size);
  return {};
}

// Empty: what this rank knows of the others' bytes agrees with its own, where the algorithm hands blocks on.
std::string fault_of_relayed(const CommGroup& group, const ExchangeBuffers& buffers) {
  if (!relays(buffers.algorithm)) return {};
  const auto n = static_cast<std::size_t>(group.size());
  if (buffers.all_bytes.size() != n * n)
    return fmt::format("all_to_all_v by {}: {} counts of all members, where {} x {} are needed",
                       exchange_algorithm_name(buffers.algorithm), buffers.all_bytes.size(), n, n);
  const auto own = static_cast<std::size_t>(group.position());
  for (std::size_t i = 0; i < n; ++i)
    if (buffers.all_bytes[own * n + i] != buffers.send_bytes[i] ||
        buffers.all_bytes[i * n + own] != buffers.receive_bytes[i])
      return fmt::format("all_to_all_v: the counts of all members contradict this rank's own with member {}", i);
  if (std::ranges::any_of(buffers.all_bytes, [](std::int64_t count) { return count < 0; }))
    return "all_to_all_v, what others send: a count below 0";
  return {};
}

std::int64_t element_bytes(Reduction how) { return storage(1, how.type).count(); }

std::string fault_of(Reduction how) {
  if (how.type == DType::kFp32 || how.type == DType::kBf16) return {};
  return fmt::format("reduction of {}; it can be fp32 or bf16", dtype_name(how.type));
}

// n blocks as equal as possible, the longer ones first.
std::vector<std::int64_t> even_counts(std::int64_t total, int n) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(n), total / n);
  for (std::int64_t i = 0; i < total % n; ++i) ++counts[static_cast<std::size_t>(i)];
  return counts;
}

}  // namespace

Result<std::unique_ptr<HostCommunicator>> HostCommunicator::make(std::unique_ptr<Transport> transport,
                                                                 CommOptions options) {
  const int bits = std::bit_width(static_cast<unsigned>(transport->largest_tag()) + 1u) - 1;
  const int group_bits = std::min(bits - 1 - kChannelBits, kMostGroupBits);
  if (group_bits < kFewestGroupBits)
    return fail(ErrorKind::kUsage,
                fmt::format("message tags up to {} are too few to keep groups apart", transport->largest_tag()), {},
                "use an MPI whose MPI_TAG_UB is at least 2097151, such as Open MPI or MPICH");
  return std::unique_ptr<HostCommunicator>(new HostCommunicator(std::move(transport), std::move(options), group_bits));
}

HostCommunicator::HostCommunicator(std::unique_ptr<Transport> transport, CommOptions options, int group_bits)
    : transport_(std::move(transport)),
      options_(std::move(options)),
      group_bits_(group_bits),
      watchdog_(options_.clock, options_.deadline) {}

HostCommunicator::~HostCommunicator() {
  if (broken_ || anything_in_flight()) transport_->give_up();
}

Result<CommGroup> HostCommunicator::group(std::vector<RankId> members) {
  for (const CommGroup& known : groups_)
    if (known.members() == members) return known;
  MOESIM_ASSIGN(CommGroup made, CommGroup::make(std::move(members), rank(), size()));
  for (const CommGroup& known : groups_)
    if (group_tag(known) == group_tag(made))
      return fail(ErrorKind::kInternal,
                  fmt::format("the groups {} and {} cannot be told apart by their tags", ranks_to_text(known.members()),
                              ranks_to_text(made.members())),
                  {}, "name the ranks of one of them in another order");
  groups_.push_back(made);
  return made;
}

std::uint64_t HostCommunicator::group_tag(const CommGroup& group) const {
  return group.fingerprint() & ((std::uint64_t{1} << group_bits_) - 1);
}

int HostCommunicator::collective_tag(const CommGroup& group, Channel channel) const {
  return static_cast<int>((static_cast<std::uint64_t>(channel.value()) << group_bits_) | group_tag(group));
}

NodePlaces HostCommunicator::places_of(const CommGroup& group) const {
  std::map<std::string_view, std::int32_t> number;
  std::vector<std::int32_t> hosts;
  for (const RankId member : group.members())
    hosts.push_back(number.emplace(host_of(member), static_cast<std::int32_t>(number.size())).first->second);
  return node_places(hosts);
}

Request HostCommunicator::all_to_all_v(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers) {
  std::string fault = fault_of(group, buffers.send_bytes, 1, buffers.send.size(), "all_to_all_v, what is sent");
  if (fault.empty())
    fault = fault_of(group, buffers.receive_bytes, 1, buffers.receive.size(), "all_to_all_v, what is received");
  if (!fault.empty()) return refuse(std::move(fault));
  const auto own = static_cast<std::size_t>(group.position());
  if (buffers.send_bytes[own] != buffers.receive_bytes[own])
    return refuse(fmt::format("all_to_all_v: this rank sends {} bytes to itself and expects {}",
                              buffers.send_bytes[own], buffers.receive_bytes[own]));
  if (std::string wrong = fault_of_relayed(group, buffers); !wrong.empty()) return refuse(std::move(wrong));
  const ConstBlocks send = cut(buffers.send, buffers.send_bytes, 1);
  const Blocks receive = cut(buffers.receive, buffers.receive_bytes, 1);
  return start_collective(
      group, channel, CommKind::kAllToAllV, static_cast<std::uint16_t>(buffers.algorithm),
      all_to_all_schedule(buffers.algorithm, group, send, receive, {places_of(group), buffers.all_bytes}));
}

Request HostCommunicator::all_gather(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                     std::span<std::byte> all) {
  const std::vector<std::int64_t> bytes(static_cast<std::size_t>(group.size()), static_cast<std::int64_t>(mine.size()));
  return all_gather_v(group, channel, mine, all, bytes);
}

Request HostCommunicator::all_gather_v(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                       std::span<std::byte> all, std::span<const std::int64_t> bytes) {
  if (std::string fault = fault_of(group, bytes, 1, all.size(), "all_gather"); !fault.empty())
    return refuse(std::move(fault));
  const Blocks blocks = cut(all, bytes, 1);
  const auto place = blocks[static_cast<std::size_t>(group.position())];
  if (place.size() != mine.size())
    return refuse(fmt::format("all_gather: this rank has {} bytes, its place {}", mine.size(), place.size()));
  Schedule schedule;
  schedule.add_round().locals.push_back({.kind = LocalStep::Kind::kCopy, .into = place, .from = mine});
  const bool small = Bytes(static_cast<std::int64_t>(all.size())) <= options_.small_all_gather;
  schedule.append(small ? linear_all_gather(group, blocks) : ring_all_gather(group, blocks));
  return start_collective(group, channel, CommKind::kAllGather, 0, std::move(schedule));
}

Request HostCommunicator::reduce_scatter(const CommGroup& group, Channel channel, Reduction how,
                                         std::span<const std::byte> all, std::span<std::byte> mine) {
  if (std::string fault = fault_of(how); !fault.empty()) return refuse(std::move(fault));
  const std::vector<std::int64_t> elements(static_cast<std::size_t>(group.size()),
                                           static_cast<std::int64_t>(mine.size()) / element_bytes(how));
  return reduce_scatter_v(group, channel, how, all, mine, elements);
}

Request HostCommunicator::reduce_scatter_v(const CommGroup& group, Channel channel, Reduction how,
                                           std::span<const std::byte> all, std::span<std::byte> mine,
                                           std::span<const std::int64_t> elements) {
  std::string fault = fault_of(how);
  if (fault.empty()) fault = fault_of(group, elements, element_bytes(how), all.size(), "reduce_scatter");
  if (!fault.empty()) return refuse(std::move(fault));
  const ConstBlocks blocks = cut(all, elements, element_bytes(how));
  const std::size_t place = blocks[static_cast<std::size_t>(group.position())].size();
  if (place != mine.size())
    return refuse(fmt::format("reduce_scatter: this rank's block has {} bytes, its buffer {}", place, mine.size()));
  return start_collective(group, channel, CommKind::kReduceScatter, detail_of(how),
                          ring_reduce_scatter(group, how, blocks, mine));
}

Request HostCommunicator::all_reduce(const CommGroup& group, Channel channel, Reduction how,
                                     std::span<std::byte> data) {
  if (std::string fault = fault_of(how); !fault.empty()) return refuse(std::move(fault));
  const std::int64_t unit = element_bytes(how);
  const auto size = static_cast<std::int64_t>(data.size());
  if (size % unit != 0)
    return refuse(fmt::format("all_reduce: {} bytes are no whole number of {}", size, dtype_name(how.type)));
  Schedule schedule;
  if (Bytes(size) <= options_.small_all_reduce)
    schedule = recursive_doubling_all_reduce(group, how, data);
  else
    schedule = ring_all_reduce(group, how, cut(data, even_counts(size / unit, group.size()), unit));
  return start_collective(group, channel, CommKind::kAllReduce, detail_of(how), std::move(schedule));
}

Request HostCommunicator::broadcast(const CommGroup& group, Channel channel, RankId root, std::span<std::byte> data) {
  const auto found = std::ranges::find(group.members(), root);
  if (found == group.members().end())
    return refuse(
        fmt::format("broadcast: rank {} is not in the group {}", root.value(), ranks_to_text(group.members())));
  const auto position = static_cast<int>(found - group.members().begin());
  return start_collective(group, channel, CommKind::kBroadcast, static_cast<std::uint16_t>(position),
                          binomial_broadcast(group, position, data));
}

Request HostCommunicator::barrier(const CommGroup& group, Channel channel) {
  return start_collective(group, channel, CommKind::kBarrier, 0, dissemination_barrier(group));
}

Request HostCommunicator::send(RankId to, Channel channel, std::span<const std::byte> data) {
  Round round;
  round.sends.push_back({to, data});
  return start_message(Direction::kOut, to, channel, std::move(round));
}

Request HostCommunicator::receive(RankId from, Channel channel, std::span<std::byte> data) {
  Round round;
  round.receives.push_back({from, data});
  return start_message(Direction::kIn, from, channel, std::move(round));
}

Request HostCommunicator::start_collective(const CommGroup& group, Channel channel, CommKind kind, std::uint16_t detail,
                                           Schedule schedule) {
  MOESIM_ASSERT(group.self() == rank());
  if (!valid(channel)) return refuse(fmt::format("{}: there is no channel {}", comm_kind_name(kind), channel.value()));
  if (broken_) return Request(std::make_shared<RefusedOperation>(*broken_));
  Lane& lane = lanes_[{group.fingerprint(), channel}];
  OperationLabel label{.header = {.group = group.fingerprint(),
                                  .sequence = lane.started++,
                                  .detail = detail,
                                  .kind = kind,
                                  .channel = static_cast<std::uint8_t>(channel.value())},
                       .tag = collective_tag(group, channel),
                       .ranks = group.members()};
  auto operation = std::make_shared<Operation>(std::move(label), std::move(schedule));
  if (!anything_in_flight()) watchdog_.moved();
  lane.queue.push_back(operation);
  ++in_flight_;
  if (lane.queue.size() == 1)
    if (Status started = operation->start(*transport_); !started) std::ignore = break_with(std::move(started).error());
  return request_for(std::move(operation));
}

Request HostCommunicator::start_message(Direction direction, RankId peer, Channel channel, Round round) {
  if (!valid(channel)) return refuse(fmt::format("message: there is no channel {}", channel.value()));
  if (!peer.valid() || peer.value() >= size())
    return refuse(fmt::format("message: rank {} is none of the {}", peer.value(), size()));
  if (broken_) return Request(std::make_shared<RefusedOperation>(*broken_));
  OperationLabel label{
      .header = {.sequence = messages_started_[{direction, peer, channel}]++,
                 .kind = CommKind::kMessage,
                 .channel = static_cast<std::uint8_t>(channel.value())},
      .tag = (kChannels + channel.value()) << group_bits_,
      .ranks = {direction == Direction::kOut ? rank() : peer, direction == Direction::kOut ? peer : rank()}};
  Schedule schedule;
  schedule.rounds.push_back(std::move(round));
  auto operation = std::make_shared<Operation>(std::move(label), std::move(schedule));
  if (!anything_in_flight()) watchdog_.moved();
  messages_.push_back(operation);
  ++in_flight_;
  if (Status started = operation->start(*transport_); !started) std::ignore = break_with(std::move(started).error());
  return request_for(std::move(operation));
}

Request HostCommunicator::request_for(OperationPtr operation) {
  return Request(std::make_shared<StartedOperation>(*this, std::move(operation)));
}

Result<bool> HostCommunicator::progress() {
  if (broken_) return tl::unexpected(*broken_);
  Result<bool> moved = advance_all();
  if (!moved) return break_with(std::move(moved).error());
  if (*moved || !anything_in_flight())
    watchdog_.moved();
  else if (watchdog_.idle_for_too_long())
    return break_with(stuck_error());
  return moved;
}

Result<bool> HostCommunicator::advance_all() {
  MOESIM_ASSIGN(bool moved, transport_->progress());
  for (auto& [key, lane] : lanes_) {
    while (!lane.queue.empty()) {
      Operation& operation = *lane.queue.front();
      MOESIM_ASSIGN(const bool went_on, operation.advance(*transport_));
      moved = moved || went_on;
      if (!operation.done()) break;
      lane.queue.pop_front();
      --in_flight_;
      moved = true;
      if (lane.queue.empty()) break;
      MOESIM_TRY(lane.queue.front()->start(*transport_));
    }
  }
  for (const OperationPtr& message : messages_) {
    MOESIM_ASSIGN(const bool went_on, message->advance(*transport_));
    moved = moved || went_on;
  }
  in_flight_ -= static_cast<int>(std::erase_if(messages_, [](const OperationPtr& message) { return message->done(); }));
  return moved;
}

Result<bool> HostCommunicator::test(const Operation& operation) {
  if (operation.done()) return true;
  MOESIM_TRY(progress());
  return operation.done();
}

Status HostCommunicator::wait(const Operation& operation) {
  Seconds moved_at = options_.clock();
  while (!operation.done()) {
    MOESIM_ASSIGN(const bool moved, progress());
    const Seconds now = options_.clock();
    if (moved)
      moved_at = now;
    else
      rest(now - moved_at);
  }
  return {};
}

void HostCommunicator::rest(Seconds waited) {
  constexpr double kShareOfWait = 1.0 / 8;
  constexpr Seconds kShortestNap(10e-6);  // below, falling asleep and waking up take longer
  const Seconds nap = std::min(options_.longest_nap, waited * kShareOfWait);
  if (nap < kShortestNap)
    std::this_thread::yield();
  else
    std::this_thread::sleep_for(std::chrono::duration<double>(nap.value()));
}

Error HostCommunicator::stuck_error() const {
  std::string text;
  const auto add = [&](const Operation& operation) {
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", operation.name(), operation.waits_for());
  };
  for (const auto& [key, lane] : lanes_)
    if (!lane.queue.empty()) add(*lane.queue.front());
  for (const OperationPtr& message : messages_) add(*message);
  return {ErrorKind::kInternal,
          fmt::format("rank {} waited {} s and nothing moved; {}", rank().value(), watchdog_.deadline().value(), text),
          {},
          "look for the first error of the ranks named here; a slow machine may need a longer deadline"};
}

tl::unexpected<Error> HostCommunicator::break_with(Error error) {
  broken_ = error;
  return tl::unexpected(std::move(error));
}

}  // namespace moesim
