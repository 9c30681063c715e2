// Processes that find together over TCP, here as threads: who meets, who is turned away, and what travels over the connections.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <thread>

#include "collective_matrix.hpp"
#include "exec/comm/host_communicator.hpp"
#include "exec/comm/meeting.hpp"
#include "exec/comm/socket_transport.hpp"
#include "local_ranks.hpp"

namespace moesim {
namespace {

using testing::HasSubstr;

// The meeting points of so many ranks, as their common ancestor makes them.
struct Points {
  std::vector<MeetingPoint> points;
  MeetingPlan plan;

  explicit Points(int ranks, Seconds patience = Seconds(20)) {
    plan.secret = draw_secret().value();
    plan.patience = patience;
    for (int rank = 0; rank < ranks; ++rank) {
      points.push_back(open_meeting_point().value());
      plan.ports.push_back(points.back().port);
    }
  }
  [[nodiscard]] Result<std::vector<Socket>> meet(int rank) const {
    MeetingPlan own = plan;
    own.self = RankId(rank);
    return meet_ranks(own, points[static_cast<std::size_t>(rank)].listener, real_clock());
  }
};

void never() { ADD_FAILURE() << "a process would have ended"; }

// What `rank_main` gives on each rank of a world that is connected over sockets.
template <class RankMain>
std::vector<Status> run_over_sockets(const Points& world, const RankMain& rank_main) {
  std::vector<Status> results(world.points.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < results.size(); ++rank)
    threads.emplace_back([&, rank] {
      results[rank] = [&]() -> Status {
        MOESIM_ASSIGN(std::vector<Socket> connections, world.meet(static_cast<int>(rank)));
        MOESIM_ASSIGN(const auto comm,
                      HostCommunicator::make(std::make_unique<SocketTransport>(RankId(static_cast<int>(rank)),
                                                                               std::move(connections), never),
                                             {.clock = real_clock()}));
        return rank_main(*comm);
      }();
    });
  for (std::thread& thread : threads) thread.join();
  return results;
}

// A call from outside; it may say something.
Socket call(std::uint16_t port, std::string_view words) {
  Socket caller(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  EXPECT_EQ(::connect(caller.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::send(caller.get(), words.data(), words.size(), MSG_NOSIGNAL), static_cast<ssize_t>(words.size()));
  return caller;
}

TEST(Sockets, CarryEveryCollective) {
  for (const int ranks : {1, 2, 5}) {
    for (const Status& result : run_over_sockets(Points(ranks), check_collectives))
      EXPECT_TRUE(result.has_value()) << result.error().what;
    for (const ExchangeAlgorithm algorithm : exchange_algorithms()) {
      const auto check = [algorithm](Communicator& comm) { return check_exchanges(comm, algorithm); };
      for (const Status& result : run_over_sockets(Points(ranks), check))
        EXPECT_TRUE(result.has_value()) << result.error().what;
    }
    for (const Status& result : run_over_sockets(Points(ranks), check_messages))
      EXPECT_TRUE(result.has_value()) << result.error().what;
  }
}

// More than the system takes at once, both ways at the same time, and received before and after it comes.
TEST(Sockets, CarryMoreThanTheirBuffersHold) {
  const auto exchange = [](Communicator& comm) -> Status {
    const RankId other(1 - comm.rank().value());
    std::vector<float> mine(8'000'000, static_cast<float>(comm.rank().value() + 1));
    std::vector<float> theirs(mine.size());
    Request sent = comm.send(other, Channel(0), bytes_of(mine));
    if (comm.rank() == RankId(0)) {
      MOESIM_TRY(comm.progress());
    }
    MOESIM_TRY(comm.receive(other, Channel(0), bytes_of(theirs)).wait());
    MOESIM_TRY(sent.wait());
    EXPECT_EQ(theirs.front(), static_cast<float>(other.value() + 1));
    EXPECT_EQ(theirs.back(), theirs.front());
    return {};
  };
  for (const Status& result : run_over_sockets(Points(2), exchange))
    EXPECT_TRUE(result.has_value()) << result.error().what;
}

// The 128 bytes that NCCL's communicators begin with.
TEST(Sockets, BringAnIdToAllRanks) {
  const auto bring = [](Communicator& comm) -> Status {
    std::array<std::byte, 128> id{};
    if (comm.rank() == RankId(2)) {
      for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::byte>(i + 1);
    }
    MOESIM_ASSIGN(const CommGroup group, everyone(comm));
    MOESIM_TRY(comm.broadcast(group, Channel(1), RankId(2), id).wait());
    for (std::size_t i = 0; i < id.size(); ++i) EXPECT_EQ(id[i], static_cast<std::byte>(i + 1));
    return {};
  };
  for (const Status& result : run_over_sockets(Points(4), bring)) EXPECT_TRUE(result.has_value());
}

// One says rubbish, one the right secret but a rank that there is not, one nothing at all.
TEST(Meeting, StrangersHoldUpNobody) {
  const Points world(3);
  std::vector<Socket> strangers;
  strangers.push_back(call(world.plan.ports[0], "GET / HTTP/1.1\r\n\r\n and more than a hello is long"));
  strangers.push_back(call(world.plan.ports[0], ""));
  std::string secret(reinterpret_cast<const char*>(world.plan.secret.data()), world.plan.secret.size());
  strangers.push_back(call(world.plan.ports[0], secret + std::string("\x09\0\0\0", 4)));
  strangers.push_back(call(world.plan.ports[1], secret.substr(0, 7)));
  for (const Status& result : run_over_sockets(world, check_messages))
    EXPECT_TRUE(result.has_value()) << result.error().what;
}

TEST(Meeting, SaysWhichRankDidNotCome) {
  const Points world(3, Seconds(0.2));
  std::optional<Result<std::vector<Socket>>> second;
  std::thread other([&] { second = world.meet(1); });
  const auto first = world.meet(0);
  other.join();
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().what, "rank 0 waited 0.2 s for rank 2, which did not come");
  ASSERT_FALSE(second->has_value());
  EXPECT_EQ(second->error().what, "rank 1 waited 0.2 s for rank 2, which did not come");
}

TEST(Meeting, SaysThatNobodyListens) {
  Points world(2);
  world.points[0] = MeetingPoint{};  // hung up
  const auto met = world.meet(1);
  ASSERT_FALSE(met.has_value());
  EXPECT_THAT(met.error().what, HasSubstr("rank 1 calling rank 0 on port"));
  EXPECT_THAT(met.error().what, HasSubstr("refused"));
}

TEST(Meeting, IsNotFooledBySomebodyElseWhoListens) {
  Points world(2);
  const MeetingPoint other = open_meeting_point().value();
  world.plan.ports[0] = other.port;
  std::thread someone([&] {
    int caller = -1;
    while (caller < 0) caller = ::accept(other.listener.get(), nullptr, nullptr);
    const Socket answers(caller);
    const std::string words = "220 mail.example ESMTP ready";
    ::send(caller, words.data(), words.size(), MSG_NOSIGNAL);
    std::array<char, 64> heard{};
    std::ignore = ::recv(caller, heard.data(), heard.size(), 0);
  });
  const auto met = world.meet(1);
  someone.join();
  ASSERT_FALSE(met.has_value());
  EXPECT_THAT(met.error().what, HasSubstr("somebody else listens there"));
}

// Rank 1's connections end as they do when its process is killed: nobody says goodbye.
TEST(Sockets, ADeadRankEndsTheWork) {
  const Points world(2);
  std::optional<Result<std::vector<Socket>>> dying;
  std::thread other([&] { dying = world.meet(1); });
  auto connections = world.meet(0);
  other.join();
  ASSERT_TRUE(connections.has_value());
  SocketTransport transport(RankId(0), std::move(*connections), never);
  std::array<std::byte, 4> nothing{};
  const auto transfer = transport.receive(RankId(1), 0, nothing);
  ASSERT_TRUE(transfer.has_value());
  EXPECT_EQ(transport.progress().value(), false);
  dying.reset();
  const auto after = transport.progress();
  ASSERT_FALSE(after.has_value());
  EXPECT_EQ(after.error().what, "the process of rank 1 has died");
}

// Rank 1 finds an error and says so; the others end without a word, and so do those that lose rank 0.
TEST(Sockets, OneErrorEndsAllRanks) {
  const Points world(3);
  std::vector<std::optional<Result<std::vector<Socket>>>> met(3);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < 3; ++rank)
    ranks.emplace_back([&, rank] { met[static_cast<std::size_t>(rank)] = world.meet(rank); });
  for (std::thread& rank : ranks) rank.join();
  std::array<int, 3> ended{};
  std::vector<std::unique_ptr<SocketTransport>> transports;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    ASSERT_TRUE(met[rank]->has_value());
    transports.push_back(std::make_unique<SocketTransport>(RankId(static_cast<int>(rank)), std::move(**met[rank]),
                                                           [&ended, rank] { ++ended[rank]; }));
  }
  transports[1]->abort_all("an error");
  EXPECT_EQ(ended[1], 1);
  EXPECT_EQ(transports[0]->progress().error().what, "rank 1 has ended the work of all");
  EXPECT_EQ(transports[2]->progress().error().what, "rank 1 has ended the work of all");
  EXPECT_EQ(ended[0], 1);
  EXPECT_EQ(ended[2], 1);
}

}  // namespace
}  // namespace moesim
