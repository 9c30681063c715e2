#include "collective_matrix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "exec/comm/reduce.hpp"

namespace moesim {
namespace {

using Bytes8 = std::vector<std::byte>;

// Whole numbers up to 7, so that sums over 8 ranks are exact in BF16 too and any order of summation gives the same.
int number(RankId rank, std::int64_t i, int salt) {
  return static_cast<int>((rank.value() * 5 + i * 3 + salt * 11) % 15) - 7;
}

std::byte letter(RankId from, RankId to, std::int64_t i, int salt) {
  return static_cast<std::byte>((from.value() * 37 + to.value() * 101 + i * 7 + salt * 13) & 0xff);
}

Bytes8 stored(const std::vector<float>& values, DType type) {
  Bytes8 bytes(static_cast<std::size_t>(storage(static_cast<std::int64_t>(values.size()), type).count()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Bf16Bits narrow_value = bf16_from_float(values[i]);
    if (type == DType::kFp32)
      std::memcpy(bytes.data() + 4 * i, &values[i], 4);
    else
      std::memcpy(bytes.data() + 2 * i, &narrow_value, 2);
  }
  return bytes;
}

Bytes8 numbers(RankId rank, std::int64_t count, int salt, DType type) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i)
    values[static_cast<std::size_t>(i)] = static_cast<float>(number(rank, i, salt));
  return stored(values, type);
}

Bytes8 reduced(const CommGroup& group, std::int64_t count, int salt, Reduction how) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    int result = how.kind == ReduceKind::kSum ? 0 : -100;
    for (const RankId member : group.members())
      result =
          how.kind == ReduceKind::kSum ? result + number(member, i, salt) : std::max(result, number(member, i, salt));
    values[static_cast<std::size_t>(i)] = static_cast<float>(result);
  }
  return stored(values, how.type);
}

Bytes8 letters(RankId from, RankId to, std::int64_t count, int salt) {
  Bytes8 bytes(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) bytes[static_cast<std::size_t>(i)] = letter(from, to, i, salt);
  return bytes;
}

void append(Bytes8& to, const Bytes8& what) { to.insert(to.end(), what.begin(), what.end()); }

// Empty, odd, around the largest message in one piece (2 KiB), and longer.
std::int64_t odd_size(int salt) {
  constexpr std::int64_t kSizes[] = {0, 1, 3, 17, 0, 255, 2023, 2025, 5001, 2};
  return kSizes[salt % 10];
}

// An operation in flight with all its memory.
struct InFlight {
  std::string name;
  Bytes8 input;
  Bytes8 output;
  Bytes8 expected;
  std::vector<std::int64_t> counts;
  std::vector<std::int64_t> more_counts;
  std::vector<std::int64_t> all_counts;
  Request request;
};

class Matrix {
 public:
  Matrix(Communicator& comm, ExchangeAlgorithm algorithm) : comm_(comm), algorithm_(algorithm) {}

  void start_all(const CommGroup& group, Channel channel, int salt);
  void start_exchange(const CommGroup& group, Channel channel, int salt);
  void start_reductions(const CommGroup& group, Channel channel, int salt, Reduction how);
  [[nodiscard]] Status finish();

 private:
  InFlight& add(std::string name, const CommGroup& group, Channel channel, int salt);
  void start_gathers(const CommGroup& group, Channel channel, int salt);
  void start_broadcast(const CommGroup& group, Channel channel, int salt);

  Communicator& comm_;
  ExchangeAlgorithm algorithm_;
  std::vector<std::unique_ptr<InFlight>> in_flight_;
};

InFlight& Matrix::add(std::string name, const CommGroup& group, Channel channel, int salt) {
  in_flight_.push_back(std::make_unique<InFlight>());
  in_flight_.back()->name = fmt::format("{} salt {} of {} on channel {}, rank {}", name, salt,
                                        ranks_to_text(group.members()), channel.value(), comm_.rank().value());
  return *in_flight_.back();
}

void Matrix::start_exchange(const CommGroup& group, Channel channel, int salt) {
  InFlight& it = add("all_to_all_v", group, channel, salt);
  const auto size = [&](RankId from, RankId to) { return odd_size(from.value() * 3 + to.value() * 7 + salt); };
  for (const RankId peer : group.members()) {
    it.counts.push_back(size(comm_.rank(), peer));
    it.more_counts.push_back(size(peer, comm_.rank()));
    append(it.input, letters(comm_.rank(), peer, it.counts.back(), salt));
    append(it.expected, letters(peer, comm_.rank(), it.more_counts.back(), salt));
  }
  for (const RankId from : group.members())
    for (const RankId to : group.members()) it.all_counts.push_back(size(from, to));
  it.output.resize(it.expected.size());
  it.request =
      comm_.all_to_all_v(group, channel, {it.input, it.counts, it.output, it.more_counts, algorithm_, it.all_counts});
}

void Matrix::start_gathers(const CommGroup& group, Channel channel, int salt) {
  InFlight& even = add("all_gather", group, channel, salt);
  const std::int64_t size = odd_size(salt);
  even.input = letters(comm_.rank(), RankId(0), size, salt);
  for (const RankId member : group.members()) append(even.expected, letters(member, RankId(0), size, salt));
  even.output.resize(even.expected.size());
  even.request = comm_.all_gather(group, channel, even.input, even.output);

  InFlight& odd = add("all_gather_v", group, channel, salt);
  for (const RankId member : group.members()) {
    odd.counts.push_back(odd_size(member.value() + salt));
    append(odd.expected, letters(member, RankId(0), odd.counts.back(), salt));
  }
  odd.output.resize(odd.expected.size());
  odd.input = letters(comm_.rank(), RankId(0), odd_size(comm_.rank().value() + salt), salt);
  odd.request = comm_.all_gather_v(group, channel, odd.input, odd.output, odd.counts);
}

void Matrix::start_broadcast(const CommGroup& group, Channel channel, int salt) {
  InFlight& it = add("broadcast", group, channel, salt);
  const RankId root = group.member(salt % group.size());
  it.expected = letters(root, root, odd_size(salt + 1), salt);
  it.output.resize(it.expected.size());
  if (root == comm_.rank()) it.output = it.expected;
  it.request = comm_.broadcast(group, channel, root, it.output);
}

void Matrix::start_reductions(const CommGroup& group, Channel channel, int salt, Reduction how) {
  const std::string form = fmt::format("{} {}", how.kind == ReduceKind::kSum ? "sum" : "max", dtype_name(how.type));
  const auto bytes_of = [&](std::int64_t elements) {
    return static_cast<std::size_t>(storage(elements, how.type).count());
  };
  const auto own = static_cast<std::size_t>(group.position());

  InFlight& all = add("all_reduce " + form, group, channel, salt);
  const std::int64_t elements = odd_size(salt);
  all.output = numbers(comm_.rank(), elements, salt, how.type);
  all.expected = reduced(group, elements, salt, how);
  all.request = comm_.all_reduce(group, channel, how, all.output);

  InFlight& even = add("reduce_scatter " + form, group, channel, salt);
  const std::int64_t block = odd_size(salt + 5);
  even.input = numbers(comm_.rank(), block * group.size(), salt, how.type);
  const Bytes8 whole = reduced(group, block * group.size(), salt, how);
  even.expected.assign(whole.begin() + static_cast<std::ptrdiff_t>(own * bytes_of(block)),
                       whole.begin() + static_cast<std::ptrdiff_t>((own + 1) * bytes_of(block)));
  even.output.resize(even.expected.size());
  even.request = comm_.reduce_scatter(group, channel, how, even.input, even.output);

  InFlight& odd = add("reduce_scatter_v " + form, group, channel, salt);
  for (const RankId member : group.members()) odd.counts.push_back(odd_size(member.value() * 3 + salt));
  const std::int64_t total = std::accumulate(odd.counts.begin(), odd.counts.end(), std::int64_t{0});
  const std::int64_t before =
      std::accumulate(odd.counts.begin(), odd.counts.begin() + group.position(), std::int64_t{0});
  odd.input = numbers(comm_.rank(), total, salt, how.type);
  const Bytes8 sums = reduced(group, total, salt, how);
  odd.expected.assign(sums.begin() + static_cast<std::ptrdiff_t>(bytes_of(before)),
                      sums.begin() + static_cast<std::ptrdiff_t>(bytes_of(before + odd.counts[own])));
  odd.output.resize(odd.expected.size());
  odd.request = comm_.reduce_scatter_v(group, channel, how, odd.input, odd.output, odd.counts);
}

void Matrix::start_all(const CommGroup& group, Channel channel, int salt) {
  start_exchange(group, channel, salt);
  start_gathers(group, channel, salt);
  start_broadcast(group, channel, salt);
  for (const DType type : {DType::kFp32, DType::kBf16})
    for (const ReduceKind kind : {ReduceKind::kSum, ReduceKind::kMax})
      start_reductions(group, channel, salt, {type, kind});
  add("barrier", group, channel, salt).request = comm_.barrier(group, channel);
}

Status Matrix::finish() {
  // The last one first: waiting for one operation must drive all.
  for (auto it = in_flight_.rbegin(); it != in_flight_.rend(); ++it) {
    MOESIM_TRY((*it)->request.wait());
    if ((*it)->output != (*it)->expected) return fail(ErrorKind::kInternal, "wrong result of " + (*it)->name);
  }
  in_flight_.clear();
  return {};
}

std::vector<RankId> ranks_where(int world, const std::function<bool(int)>& take) {
  std::vector<RankId> ranks;
  for (int rank = 0; rank < world; ++rank)
    if (take(rank)) ranks.emplace_back(rank);
  return ranks;
}

// All ranks in several orders, halves, pairs, everyone alone.
std::vector<std::vector<RankId>> group_lists(int world) {
  std::vector<std::vector<RankId>> lists{ranks_where(world, [](int) { return true; })};
  lists.push_back({lists[0].rbegin(), lists[0].rend()});
  lists.push_back(lists[0]);
  std::rotate(lists.back().begin(), lists.back().begin() + world / 2, lists.back().end());
  std::ranges::swap(lists.back().front(), lists.back()[static_cast<std::size_t>(world / 3)]);
  for (int half : {0, 1}) lists.push_back(ranks_where(world, [half](int rank) { return rank % 2 == half; }));
  for (int pair = 0; pair < world; ++pair)
    lists.push_back(ranks_where(world, [&](int rank) { return rank == pair || rank == (pair + 3) % world; }));
  for (int alone = 0; alone < world; ++alone) lists.push_back({RankId(alone)});
  return lists;
}

}  // namespace

Status check_collectives(Communicator& comm) {
  // With the channels 0, 3 and 15 added, every size has its turn.
  for (const int salt : {0, 1, 2, 4, 8}) {
    Matrix matrix(comm, ExchangeAlgorithm::kLinear);
    for (const std::vector<RankId>& list : group_lists(comm.size())) {
      if (std::ranges::find(list, comm.rank()) == list.end()) continue;
      MOESIM_ASSIGN(const CommGroup group, comm.group(list));
      for (const int channel : {0, 3, 15}) matrix.start_all(group, Channel(channel), salt + channel);
    }
    MOESIM_TRY(matrix.finish());
  }
  return {};
}

Status check_exchanges(Communicator& comm, ExchangeAlgorithm algorithm) {
  Matrix matrix(comm, algorithm);
  for (const int salt : {0, 1, 2, 4, 8})
    for (const std::vector<RankId>& list : group_lists(comm.size())) {
      if (std::ranges::find(list, comm.rank()) == list.end()) continue;
      MOESIM_ASSIGN(const CommGroup group, comm.group(list));
      matrix.start_exchange(group, Channel(salt), salt);
    }
  return matrix.finish();
}

Status check_messages(Communicator& comm) {
  constexpr int kEach = 4;
  const int n = comm.size();
  std::vector<std::unique_ptr<InFlight>> in_flight;
  for (const int channel : {1, 2}) {
    for (int distance = 0; distance < n; ++distance) {
      const RankId to((comm.rank().value() + distance) % n);
      const RankId from((comm.rank().value() - distance + n) % n);
      for (int i = 0; i < kEach; ++i) {
        const int salt = channel * 3 + distance + i * 2;
        in_flight.push_back(std::make_unique<InFlight>());
        InFlight& out = *in_flight.back();
        out.output = out.expected = letters(comm.rank(), to, odd_size(salt), salt);
        out.request = comm.send(to, Channel(channel), out.output);
        in_flight.push_back(std::make_unique<InFlight>());
        InFlight& in = *in_flight.back();
        in.expected = letters(from, comm.rank(), odd_size(salt), salt);
        in.output.resize(in.expected.size());
        in.request = comm.receive(from, Channel(channel), in.output);
      }
    }
  }
  for (auto it = in_flight.rbegin(); it != in_flight.rend(); ++it) {
    MOESIM_TRY((*it)->request.wait());
    if ((*it)->output != (*it)->expected) return fail(ErrorKind::kInternal, "wrong message");
  }
  return {};
}

}  // namespace moesim
