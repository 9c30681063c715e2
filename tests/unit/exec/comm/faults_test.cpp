#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "local_ranks.hpp"

namespace moesim {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using RankMain = std::function<Status(Communicator&, const CommGroup&)>;

constexpr Channel kChannel(2);
constexpr Reduction kSum{DType::kFp32, ReduceKind::kSum};

// What each rank of a world says when it runs `rank_main` with the group of all: an error's text, or "fine".
std::vector<std::string> outcomes(int ranks, const RankMain& rank_main, Seconds deadline = Seconds(0.3)) {
  std::vector<std::string> texts(static_cast<std::size_t>(ranks));
  run_local_ranks(local_world(ranks, deadline), [&](Communicator& comm) {
    const CommGroup group = comm.group(all_ranks(comm)).value();
    const Status status = rank_main(comm, group);
    texts[comm.rank().index()] = status ? "fine" : status.error().what;
  });
  return texts;
}

Status all_reduce(Communicator& comm, const CommGroup& group, std::size_t elements, Reduction how = kSum) {
  std::vector<float> data(elements);
  return comm.all_reduce(group, kChannel, how, bytes_of(data)).wait();
}

TEST(Faults, DeadlineNamesTheRankThatNeverCame) {
  const auto texts = outcomes(4, [](Communicator& comm, const CommGroup& group) -> Status {
    if (comm.rank() == RankId(2)) return {};
    const std::vector<std::int64_t> bytes(4, 4);
    std::vector<float> send(4), receive(4);
    MOESIM_TRY(comm.barrier(comm.group({comm.rank()}).value(), kChannel).wait());
    return comm.all_to_all_v(group, kChannel, {bytes_of(send), bytes, bytes_of(receive), bytes}).wait();
  });
  EXPECT_EQ(texts[0],
            "rank 0 waited 0.3 s and nothing moved; all_to_all_v #0 on channel 2 of the group [0 1 2 3]: nothing "
            "came from ranks [2]");
  EXPECT_EQ(texts[2], "fine");
  EXPECT_THAT(texts[3], HasSubstr("nothing came from ranks [2]"));
}

// Round a ring each rank hears of its predecessor only; the successor of the missing one names it.
TEST(Faults, DeadlineInARingNamesThePredecessor) {
  const auto texts = outcomes(3, [](Communicator& comm, const CommGroup& group) -> Status {
    if (comm.rank() == RankId(0)) return {};
    return all_reduce(comm, group, 5000);
  });
  EXPECT_THAT(texts[1], AllOf(HasSubstr("all_reduce #0"), HasSubstr("nothing came from ranks [0]")));
  EXPECT_THAT(texts[2], HasSubstr("nothing came from ranks [1]"));
}

TEST(Faults, DeadlineOfAMessageNamesItsSender) {
  const auto texts = outcomes(2, [](Communicator& comm, const CommGroup&) -> Status {
    std::vector<float> data(4);
    if (comm.rank() == RankId(0)) return {};
    return comm.receive(RankId(0), kChannel, bytes_of(data)).wait();
  });
  EXPECT_THAT(texts[1], HasSubstr("message #0 from rank 0 to rank 1 on channel 2: nothing came from ranks [0]"));
}

TEST(Faults, DeadlineIsSeenByWhoeverOnlyTests) {
  const auto texts = outcomes(2, [](Communicator& comm, const CommGroup& group) -> Status {
    if (comm.rank() == RankId(0)) return {};
    Request request = comm.barrier(group, kChannel);
    for (;;) {
      MOESIM_ASSIGN(const bool done, request.test());
      if (done) return {};
    }
  });
  EXPECT_THAT(texts[1], HasSubstr("barrier #0"));
}

// One of the two finds out; it ends the other.
std::vector<std::string> disagreement(const RankMain& on_0, const RankMain& on_1) {
  return outcomes(
      2,
      [&](Communicator& comm, const CommGroup& group) -> Status {
        Status status = comm.rank() == RankId(0) ? on_0(comm, group) : on_1(comm, group);
        if (!status) comm.abort_all(status.error().what);
        return status;
      },
      Seconds(60));
}

TEST(Faults, OperationsOfDifferentKindsDoNotMatch) {
  const auto texts = disagreement([](auto& comm, auto& group) { return all_reduce(comm, group, 1); },
                                  [](auto& comm, auto& group) {
                                    std::vector<float> data(1);
                                    return comm.broadcast(group, kChannel, RankId(0), bytes_of(data)).wait();
                                  });
  EXPECT_THAT(texts,
              testing::Contains(HasSubstr("sent all_reduce #0 on channel 2 with 4 bytes, expected was broadcast #0 on "
                                          "channel 2 with 4 bytes")));
}

TEST(Faults, SizesDoNotMatch) {
  // Short and short, short and long (in one piece, in two), long and long.
  const std::pair<std::size_t, std::size_t> sizes[] = {{1, 2}, {100, 1000}, {1000, 100}, {3000, 5000}};
  for (const auto& size : sizes) {
    const auto texts = disagreement([&](auto& comm, auto& group) { return all_reduce(comm, group, size.first); },
                                    [&](auto& comm, auto& group) { return all_reduce(comm, group, size.second); });
    for (const std::string& text : texts)
      EXPECT_THAT(text, AnyOf(HasSubstr("expected was all_reduce #0"), HasSubstr("ended the work of all")));
  }
}

TEST(Faults, CountsOfAnExchangeDoNotMatch) {
  const auto exchange = [](std::int64_t to_other, std::int64_t from_other) -> RankMain {
    return [=](Communicator& comm, const CommGroup& group) {
      const auto other = static_cast<std::size_t>(1 - comm.rank().value());
      std::vector<std::int64_t> send(2, 0), receive(2, 0);
      send[other] = to_other, receive[other] = from_other;
      std::vector<std::byte> out(static_cast<std::size_t>(to_other)), in(static_cast<std::size_t>(from_other));
      return comm.all_to_all_v(group, kChannel, {out, send, in, receive}).wait();
    };
  };
  // 0 bytes are sent and announced as well: nobody waits for what never comes.
  EXPECT_THAT(
      disagreement(exchange(0, 8), exchange(8, 5))[1],
      HasSubstr(
          "rank 0 sent all_to_all_v #0 on channel 2 with 0 bytes, expected was all_to_all_v #0 on channel 2 with 5 "
          "bytes"));
}

TEST(Faults, ReductionsAndRootsDoNotMatch) {
  const Reduction max{DType::kFp32, ReduceKind::kMax}, bf16{DType::kBf16, ReduceKind::kSum};
  for (const Reduction other : {max, bf16}) {
    const auto texts = disagreement([](auto& comm, auto& group) { return all_reduce(comm, group, 4000); },
                                    [&](auto& comm, auto& group) { return all_reduce(comm, group, 4000, other); });
    EXPECT_THAT(texts, testing::Contains(HasSubstr("but another root, reduction or number format")));
  }
}

TEST(Faults, OrderOnAChannelDoesNotMatch) {
  const auto texts = disagreement(
      [](Communicator& comm, const CommGroup& group) -> Status {
        MOESIM_TRY(all_reduce(comm, group, 1));
        return comm.barrier(group, kChannel).wait();
      },
      [](Communicator& comm, const CommGroup& group) -> Status {
        MOESIM_TRY(comm.barrier(group, kChannel).wait());
        return all_reduce(comm, group, 1);
      });
  EXPECT_THAT(texts, testing::Contains(HasSubstr("expected was")));
}

TEST(Faults, AbortEndsAllRanksWithItsReason) {
  const auto texts = outcomes(
      4,
      [](Communicator& comm, const CommGroup& group) -> Status {
        if (comm.rank() == RankId(3)) comm.abort_all("no space left on the device");
        return comm.barrier(group, kChannel).wait();
      },
      Seconds(60));
  for (const std::string& text : texts) EXPECT_EQ(text, "rank 3 ended the work of all: no space left on the device");
}

TEST(Faults, ABrokenCommunicatorStaysBroken) {
  outcomes(2, [](Communicator& comm, const CommGroup& group) -> Status {
    if (comm.rank() == RankId(0)) return {};
    const Status first = comm.barrier(group, kChannel).wait();
    EXPECT_FALSE(first.has_value());
    EXPECT_EQ(comm.barrier(group, Channel(7)).wait().error().what, first.error().what);
    EXPECT_EQ(comm.progress().error().what, first.error().what);
    return first;
  });
}

}  // namespace
}  // namespace moesim
