#include "sim/engine/event_queue.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "program_builder.hpp"

namespace moesim {
namespace {

TEST(EventQueue, OrdersByTimeThenByPush) {
  EventQueue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.push(5, 10), 0U);
  EXPECT_EQ(queue.push(3, 11), 1U);
  EXPECT_EQ(queue.push(5, 12), 2U);
  EXPECT_EQ(queue.push(0, 13), 3U);
  std::vector<std::uint32_t> order;
  while (!queue.empty()) order.push_back(queue.pop().payload);
  EXPECT_EQ(order, (std::vector<std::uint32_t>{13, 11, 10, 12}));
}

TEST(EventQueue, KeepsTheLargestTimeAndPayload) {
  EventQueue queue;
  const Picoseconds last = std::numeric_limits<Picoseconds>::max();
  EXPECT_EQ(queue.push(last, EventQueue::kPayloads - 1), 0U);
  EXPECT_EQ(queue.push(last - 1, 0), 1U);
  EXPECT_EQ(queue.next_time(), last - 1);
  EXPECT_EQ(queue.pop().payload, 0U);
  const Event event = queue.pop();
  EXPECT_EQ(event.time, last);
  EXPECT_EQ(event.payload, EventQueue::kPayloads - 1);
  EXPECT_EQ(event.sequence, 0U);
  EXPECT_TRUE(queue.empty());
}

// Against a sorted list, with pops, peeks and pushes in random order so that the open root is met in every state.
TEST(EventQueue, AgreesWithASortedList) {
  test::Dice dice(7);
  EventQueue queue;
  std::vector<std::tuple<Picoseconds, std::uint64_t, std::uint32_t>> list;
  Picoseconds now = 0;
  for (int step = 0; step < 20000; ++step) {
    const std::uint32_t choice = dice.below(step < 10000 ? 5 : 8);
    if (choice < 3) {
      const Picoseconds time = now + dice.below(20);
      const std::uint32_t payload = dice.below(1000);
      const std::uint64_t sequence = queue.push(time, payload);
      list.emplace_back(time, sequence, payload);
    } else if (!list.empty()) {
      const auto least = std::min_element(list.begin(), list.end());
      if (choice % 2 == 0) {
        ASSERT_EQ(queue.next_time(), std::get<0>(*least));
      }
      const Event event = queue.pop();
      ASSERT_EQ(std::make_tuple(event.time, event.sequence, event.payload), *least);
      now = event.time;
      list.erase(least);
    }
    ASSERT_EQ(queue.empty(), list.empty());
  }
}

}  // namespace
}  // namespace moesim
