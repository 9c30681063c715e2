// Random programs against a second evaluator that knows nothing of events: it repeats "start = latest of what the
// operation waits for" over all operations until nothing changes.
#include <gtest/gtest.h>
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <numeric>
#include <tuple>

#include "random_program.hpp"
#include "sim/engine/join_compute.hpp"
#include "sim/engine/replay.hpp"
#include "sim/engine/replay_check.hpp"

namespace moesim {
namespace {

using test::ProgramBuilder;
using test::random_program;

class Reference {
 public:
  explicit Reference(const ReplayProgram& program) : program_(program) {
    for (std::uint32_t e = 0; e < program.entities.size(); ++e) issue(e);
  }

  std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>, std::pair<Picoseconds, Picoseconds>> evaluate() {
    for (bool changed = true; changed;) {
      changed = false;
      for (auto& [key, meeting] : meetings_) changed |= settle(meeting);
    }
    std::map<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>, std::pair<Picoseconds, Picoseconds>> times;
    for (const Instance& op : instances_) times[{op.entity, op.call, op.op}] = {op.start, op.end};
    return times;
  }

 private:
  struct Instance {
    std::uint32_t entity, call, op;
    Picoseconds duration;
    std::vector<std::size_t> after;
    Picoseconds start = 0;
    Picoseconds end = 0;
  };
  // What starts together: kind, who, stream, sequence.
  using Key = std::tuple<int, std::int64_t, int, std::uint32_t>;
  struct Meeting {
    std::vector<std::size_t> members;
    Picoseconds duration = 0;
  };

  void issue(std::uint32_t e) {
    const ReplayEntity& entity = program_.entities[e];
    std::array<std::vector<std::size_t>, kStreams> issued;
    std::map<std::pair<int, int>, std::uint32_t> sequence;
    for (std::uint32_t c = 0; c < entity.calls.size(); ++c) {
      const ReplayBlock& block = program_.blocks[entity.calls[c].block];
      const std::size_t first = instances_.size();
      for (std::uint32_t i = 0; i < block.ops.size(); ++i) {
        const ReplayOp& op = block.ops[i];
        Instance instance{e, c, i, program_.durations[entity.durations][op.duration], {}};
        auto& own = issued[static_cast<std::size_t>(op.stream)];
        if (!own.empty()) instance.after.push_back(own.back());
        for (std::uint32_t d = 0; d < op.dep_count; ++d) instance.after.push_back(first + block.deps[op.first_dep + d]);
        for (std::size_t s = 0; s < kStreams; ++s) {
          if ((op.wait_streams >> s & 1) != 0)
            instance.after.insert(instance.after.end(), issued[s].begin(), issued[s].end());
        }
        const std::size_t number = instances_.size();
        own.push_back(number);
        add_to_meeting(op, e, number, instance.duration, sequence[{static_cast<int>(op.stream), op.group}]);
        instances_.push_back(std::move(instance));
      }
    }
  }

  void add_to_meeting(const ReplayOp& op, std::uint32_t e, std::size_t number, Picoseconds duration,
                      std::uint32_t& sequence) {
    Key key{0, static_cast<std::int64_t>(number), 0, 0};
    if (op.op_class == ReplayOpClass::kCollective && program_.entities[e].groups[op.group] >= 0) {
      key = {1, program_.entities[e].groups[op.group], static_cast<int>(op.stream), sequence++};
    } else if (op.op_class == ReplayOpClass::kSend) {
      key = {2, e, 0, sequence++};
    } else if (op.op_class == ReplayOpClass::kReceive) {
      key = {2, program_.entities[e].channels[op.group], 0, sequence++};
      duration = 0;  // the sender's counts
    }
    Meeting& meeting = meetings_[key];
    meeting.members.push_back(number);
    meeting.duration = std::max(meeting.duration, duration);
  }

  bool settle(const Meeting& meeting) {
    Picoseconds start = 0;
    for (const std::size_t member : meeting.members) {
      for (const std::size_t before : instances_[member].after) start = std::max(start, instances_[before].end);
    }
    bool changed = false;
    for (const std::size_t member : meeting.members) {
      Instance& op = instances_[member];
      changed |= op.start != start || op.end != start + meeting.duration;
      op.start = start;
      op.end = start + meeting.duration;
    }
    return changed;
  }

  const ReplayProgram& program_;
  std::vector<Instance> instances_;
  std::map<Key, Meeting> meetings_;
};

class RandomPrograms : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomPrograms, TimesEqualTheReference) {
  for (std::uint64_t seed = GetParam() * 100; seed < GetParam() * 100 + 100; ++seed) {
    const ProgramBuilder b = random_program(seed);
    ASSERT_EQ(replay_program_fault(b.program), std::nullopt);
    const ReplayResult result = replay(b.program, {.record_intervals = true, .contention = false});
    ASSERT_TRUE(result.finished) << "seed " << seed << ": " << result.waiting.front().reason;
    const auto expected = Reference(b.program).evaluate();
    ASSERT_EQ(result.intervals.size(), expected.size());
    Picoseconds last = 0;
    for (const Interval& interval : result.intervals) {
      const auto& [start, end] = expected.at({interval.entity, interval.call, interval.op});
      ASSERT_EQ(interval.start, start) << "seed " << seed << " entity " << interval.entity << " op " << interval.op;
      ASSERT_EQ(interval.end, end) << "seed " << seed << " entity " << interval.entity << " op " << interval.op;
      ASSERT_GE(interval.end, last);
      last = interval.end;
    }
  }
}

TEST_P(RandomPrograms, ContentionNeverMakesAnythingEarlier) {
  for (std::uint64_t seed = GetParam() * 100; seed < GetParam() * 100 + 100; ++seed) {
    const ProgramBuilder b = random_program(seed);
    const ReplayResult shared = replay(b.program, {.record_intervals = true, .contention = true});
    ASSERT_TRUE(shared.finished);
    const auto alone = Reference(b.program).evaluate();
    for (const Interval& interval : shared.intervals) {
      const auto& [start, end] = alone.at({interval.entity, interval.call, interval.op});
      ASSERT_GE(interval.start, start) << "seed " << seed;
      ASSERT_GE(interval.end, end) << "seed " << seed;
    }
  }
}

// Causes end exactly when their operation starts, streams never overlap, and the compute stream's time adds up.
TEST_P(RandomPrograms, IntervalsAndStatisticsAreConsistent) {
  for (std::uint64_t seed = GetParam() * 100; seed < GetParam() * 100 + 100; ++seed) {
    const ProgramBuilder b = random_program(seed);
    const ReplayResult result = replay(b.program, {.record_intervals = true});
    std::map<std::pair<std::uint32_t, Stream>, Picoseconds> stream_end;
    for (const Interval& interval : result.intervals) {
      const Picoseconds cause_end =
          interval.cause < 0 ? 0 : result.intervals[static_cast<std::size_t>(interval.cause)].end;
      ASSERT_EQ(interval.start, cause_end) << "seed " << seed;
      const Stream stream = b.program.blocks[interval.entity].ops[interval.op].stream;
      ASSERT_GE(interval.start, (stream_end[{interval.entity, stream}])) << "seed " << seed;
      stream_end[{interval.entity, stream}] = interval.end;
    }
    for (const EntityStatistics& entity : result.entities) {
      Picoseconds sum = 0;
      for (const Picoseconds time : entity.compute_by_category) sum += time;
      ASSERT_EQ(sum, entity.busy[0]);
      for (const Picoseconds time : entity.exposed_by_category) sum += time;
      ASSERT_EQ(sum, entity.end) << "seed " << seed;
    }
  }
}

TEST_P(RandomPrograms, AReplayRepeatsItself) {
  const ProgramBuilder b = random_program(GetParam());
  const ReplayResult first = replay(b.program, {.record_intervals = true});
  const ReplayResult second = replay(b.program, {.record_intervals = true});
  ASSERT_EQ(first.intervals.size(), second.intervals.size());
  EXPECT_EQ(std::memcmp(first.intervals.data(), second.intervals.data(), first.intervals.size() * sizeof(Interval)), 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomPrograms, ::testing::Range<std::uint64_t>(0, 10));

Picoseconds sum(const std::vector<Picoseconds>& times) {
  return std::accumulate(times.begin(), times.end(), Picoseconds{0});
}

TEST(ReplayJoined, EndsAtTheSamePicosecondWithoutContention) {
  std::size_t runs = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const ReplayProgram program = random_program(seed).program;
    const ReplayResult whole = replay(program, {.contention = false});
    const ReplayResult joined = replay_joined(program, {.contention = false});
    runs += join_compute(program).runs.size();
    ASSERT_EQ(joined.end, whole.end) << "seed " << seed;
    ASSERT_LE(joined.events, whole.events);
    for (std::size_t e = 0; e < whole.entities.size(); ++e) {
      ASSERT_EQ(joined.entities[e].end, whole.entities[e].end) << "seed " << seed;
      ASSERT_EQ(joined.entities[e].busy, whole.entities[e].busy) << "seed " << seed;
      ASSERT_EQ(sum(joined.entities[e].compute_by_category), sum(whole.entities[e].compute_by_category));
      for (std::size_t c = 0; c < whole.entities[e].compute_by_category.size(); ++c) {
        // Shares are cut to whole picoseconds, one per run and call.
        const auto slack = static_cast<double>(program.entities[e].calls.size() * program.blocks[e].ops.size());
        ASSERT_NEAR(static_cast<double>(joined.entities[e].compute_by_category.at(c)),
                    static_cast<double>(whole.entities[e].compute_by_category[c]), slack);
      }
    }
  }
  EXPECT_GT(runs, 300U);
}

TEST(ReplayJoined, ContentionSlowsARunAsItSlowsItsParts) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    ReplayProgram program = random_program(seed).program;
    for (auto& table : program.durations)
      for (Picoseconds& duration : table) duration *= 1'000'000;
    const double whole = static_cast<double>(replay(program, {}).end);
    ASSERT_NEAR(static_cast<double>(replay_joined(program, {}).end), whole, 1e-6 * whole) << "seed " << seed;
  }
}

}  // namespace
}  // namespace moesim
