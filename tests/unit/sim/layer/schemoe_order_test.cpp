// ScheMoE's claim (EuroSys 2024, section 4): on one device and one network no order of the seven tasks of r equal chunks ends before all
// first compressions, then decompress, experts and compress chunk by chunk, then all last decompressions. Held against every order, and
// found to hold where compressing and decompressing take as long on either side, as with one format for both.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "tests/unit/sim/engine/program_builder.hpp"
#include "tests/unit/sim/layer/clocked_layer.hpp"

namespace moesim {
namespace {

// compress, dispatch, decompress, experts, compress, combine, decompress
using Tasks = std::array<Picoseconds, 7>;
constexpr std::array kOnDevice = {0, 2, 3, 4, 6};
constexpr std::array kOnNetwork = {1, 5};

struct Task {
  int kind = 0;
  int chunk = 0;
};
using Order = std::vector<Task>;

// Every order of a resource in which a chunk's tasks follow one another; chunks are equal, so of each kind they come in their order.
template <std::size_t kKinds>
void orders_from(const std::array<int, kKinds>& kinds, int chunks, std::array<int, kKinds>& done, Order& so_far,
                 std::vector<Order>& all) {
  bool complete = true;
  for (std::size_t k = 0; k < kKinds; ++k) {
    if (done[k] == chunks) continue;
    complete = false;
    if (k > 0 && done[k] == done[k - 1]) continue;
    so_far.push_back({kinds[k], done[k]++});
    orders_from(kinds, chunks, done, so_far, all);
    so_far.pop_back();
    --done[k];
  }
  if (complete) all.push_back(so_far);
}
template <std::size_t kKinds>
std::vector<Order> orders(const std::array<int, kKinds>& kinds, int chunks) {
  std::vector<Order> all;
  std::array<int, kKinds> done{};
  Order so_far;
  orders_from(kinds, chunks, done, so_far, all);
  return all;
}

// Two in-order queues: the end, or never where each waits for the other.
constexpr Picoseconds kNever = 1LL << 50;
Picoseconds end_of(const Order& device, const Order& network, const Tasks& times, int chunks) {
  std::vector<std::array<Picoseconds, 7>> ends(static_cast<std::size_t>(chunks));
  for (auto& of_chunk : ends) of_chunk.fill(-1);
  std::size_t d = 0;
  std::size_t n = 0;
  Picoseconds device_free = 0;
  Picoseconds network_free = 0;
  const auto run = [&](const Order& order, std::size_t& next, Picoseconds& free) {
    if (next == order.size()) return false;
    const Task& task = order[next];
    auto& of_chunk = ends[static_cast<std::size_t>(task.chunk)];
    const auto kind = static_cast<std::size_t>(task.kind);
    const Picoseconds ready = kind == 0 ? 0 : of_chunk[kind - 1];
    if (ready < 0) return false;
    free = of_chunk[kind] = std::max(free, ready) + times[kind];
    ++next;
    return true;
  };
  while (run(device, d, device_free) || run(network, n, network_free)) {
  }
  return d == device.size() && n == network.size() ? std::max(device_free, network_free) : kNever;
}

// The same played by the engine.
Picoseconds replayed(const Order& device, const Order& network, const Tasks& times, int chunks) {
  test::ProgramBuilder b(1);
  b.program.entities[0].groups = {-1};
  std::vector<std::array<std::int64_t, 7>> ops(static_cast<std::size_t>(chunks));
  for (auto& of_chunk : ops) of_chunk.fill(-1);
  std::size_t d = 0;
  std::size_t n = 0;
  const auto add = [&](const Order& order, std::size_t& next, Stream stream) {
    if (next == order.size()) return false;
    const Task& task = order[next];
    auto& of_chunk = ops[static_cast<std::size_t>(task.chunk)];
    const auto kind = static_cast<std::size_t>(task.kind);
    if (kind > 0 && of_chunk[kind - 1] < 0) return false;
    test::OpSpec spec{.stream = stream, .duration = times[kind]};
    if (kind > 0) spec.deps = {static_cast<std::uint32_t>(of_chunk[kind - 1])};
    of_chunk[kind] = stream == Stream::kCompute ? b.compute(0, spec) : b.collective(0, 0, spec);
    ++next;
    return true;
  };
  while (add(device, d, Stream::kCompute) || add(network, n, Stream::kEp)) {
  }
  return replay(b.program, {}).end;
}

Order own_device_order(int chunks) {
  Order order;
  for (int c = 0; c < chunks; ++c) order.push_back({0, c});
  for (int c = 0; c < chunks; ++c)
    for (const int kind : {2, 3, 4}) order.push_back({kind, c});
  for (int c = 0; c < chunks; ++c) order.push_back({6, c});
  return order;
}
Order own_network_order(int chunks) {
  Order order;
  for (const int kind : kOnNetwork)
    for (int c = 0; c < chunks; ++c) order.push_back({kind, c});
  return order;
}

Tasks drawn_tasks(std::mt19937_64& random) {
  Tasks times{};
  for (Picoseconds& time : times) time = static_cast<Picoseconds>(random() % 20);
  times[4] = times[0];
  times[6] = times[2];
  return times;
}

TEST(ScheMoe, NoOrderEndsBeforeItsOwn) {
  std::mt19937_64 random(11);
  for (const int chunks : {2, 3}) {
    const std::vector<Order> device = orders(kOnDevice, chunks);
    const std::vector<Order> network = orders(kOnNetwork, chunks);
    EXPECT_EQ(device.size(), chunks == 2 ? 42U : 6006U);  // standard tableaux of 5 rows
    EXPECT_EQ(network.size(), chunks == 2 ? 2U : 5U);
    const Order own_device = own_device_order(chunks);
    const Order own_network = own_network_order(chunks);
    for (int point = 0; point < (chunks == 2 ? 200 : 10); ++point) {
      const Tasks times = drawn_tasks(random);
      const Picoseconds own = end_of(own_device, own_network, times, chunks);
      Picoseconds best = kNever;
      for (const Order& d : device)
        for (const Order& n : network) best = std::min(best, end_of(d, n, times, chunks));
      EXPECT_EQ(own, best) << chunks << " chunks, point " << point;
    }
  }
}

// With one format on the way out and another on the way back it need not be the best. Its own order compresses to 30 and has the chunks'
// results at 34 and 38; they are back at 51 and 68, and decompressed at 67 and 84. With the second compression behind the first
// chunk's results those leave at 20 and are back at 37; the second chunk arrives at 38, its results leave at 42 and are back at 59; the
// last decompressions end at 58 and 75.
TEST(ScheMoe, UnequalFormatsMayWantAnotherOrder) {
  const Tasks times = {15, 1, 2, 1, 1, 17, 16};
  EXPECT_EQ(end_of(own_device_order(2), own_network_order(2), times, 2), 84);
  Picoseconds best = kNever;
  for (const Order& d : orders(kOnDevice, 2))
    for (const Order& n : orders(kOnNetwork, 2)) best = std::min(best, end_of(d, n, times, 2));
  EXPECT_EQ(best, 75);
}

// The two queues above are what the engine plays, for every order of two chunks.
TEST(ScheMoe, TheEnginePlaysTheseQueues) {
  std::mt19937_64 random(12);
  for (int point = 0; point < 5; ++point) {
    const Tasks times = drawn_tasks(random);
    for (const Order& d : orders(kOnDevice, 2))
      for (const Order& n : orders(kOnNetwork, 2)) {
        const Picoseconds end = end_of(d, n, times, 2);
        if (end < kNever) {
          EXPECT_EQ(replayed(d, n, times, 2), end);
        }
      }
  }
}

// And the schedule's program is played as its own order of them.
TEST(ScheMoe, TheProgramIsTheOrder) {
  const Testbed bed = testbed(2);
  const LayerCase layer = layer_case(layer_plan(8, 1, 1));
  std::mt19937_64 random(13);
  for (const int degree : {2, 4, 8}) {
    Plan plan = plan_of_schedule(layer, "schemoe", LayerBoundary::kWhole).value();
    plan.moe_degree = degree;
    plan.moe_dispatch_format = plan.moe_combine_format = WireFormat::kFp8;
    ClockedLayer forward(layer, plan, BlockKind::kForward, *bed.costs);
    plan.moe_schedule = "pipemoe";
    ClockedLayer other(layer, plan, BlockKind::kForward, *bed.costs);
    for (int point = 0; point < 50; ++point) {
      const Tasks times = drawn_tasks(random);
      const auto clock = [&](const Op& op) -> Picoseconds {
        switch (op.kind) {
          case OpKind::kCompress: return times[0];
          case OpKind::kDispatch: return times[1];
          case OpKind::kDecompress: return times[2];
          case OpKind::kGroupedGemm: return op.name == "experts.up" ? times[3] : 0;
          case OpKind::kCombine: return times[5];
          default: return 0;
        }
      };
      const Picoseconds own = forward.play(clock);
      EXPECT_EQ(own, end_of(own_device_order(degree), own_network_order(degree), times, degree)) << degree;
      EXPECT_LE(own, other.play(clock)) << degree;
    }
  }
}

}  // namespace
}  // namespace moesim
