// The protocol between the processes of a sweep, with threads in their place.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "sweep_testing.hpp"

namespace moesim {
namespace {

class Mail {
 public:
  explicit Mail(int size) : boxes_(static_cast<std::size_t>(size)) {}
  void put(int to, SweepMessage message) {
    const std::lock_guard lock(mutex_);
    boxes_[static_cast<std::size_t>(to)].push_back(std::move(message));
  }
  std::optional<SweepMessage> get(int rank) {
    const std::lock_guard lock(mutex_);
    auto& box = boxes_[static_cast<std::size_t>(rank)];
    if (box.empty()) return std::nullopt;
    SweepMessage message = std::move(box.front());
    box.pop_front();
    return message;
  }
  [[nodiscard]] int size() const { return static_cast<int>(boxes_.size()); }

 private:
  std::mutex mutex_;
  std::vector<std::deque<SweepMessage>> boxes_;
};

class ThreadTransport final : public SweepTransport {
 public:
  ThreadTransport(Mail& mail, int rank) : mail_(mail), rank_(rank) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return mail_.size(); }
  void send(int to, SweepMessageKind kind, std::string_view body) override {
    if (kind == SweepMessageKind::kRow) ++rows_sent;
    mail_.put(to, {rank_, kind, std::string(body)});
  }
  [[nodiscard]] std::optional<SweepMessage> poll() override { return mail_.get(rank_); }

  int rows_sent = 0;

 private:
  Mail& mail_;
  int rank_;
};

struct Together {
  Result<SweepSummary> led;
  std::vector<Status> worked;
  int rows_sent = 0;
};

// Rank 0 with `spec`, one more rank for each of `others`.
Together run_together(const SweepSpec& spec, const std::vector<Result<SweepSpec>>& others, const std::string& output) {
  Mail mail(static_cast<int>(others.size()) + 1);
  Together together;
  together.worked.resize(others.size());
  std::vector<std::unique_ptr<ThreadTransport>> transports;
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < others.size(); ++i) {
    transports.push_back(std::make_unique<ThreadTransport>(mail, static_cast<int>(i) + 1));
    threads.emplace_back([&, i] { together.worked[i] = work_for_sweep(others[i], 1, StopToken(), *transports[i]); });
  }
  ThreadTransport leader(mail, 0);
  together.led = run_sweep(spec, options_to(output), leader);
  dismiss_workers(leader);
  threads.clear();
  for (const auto& transport : transports) together.rows_sent += transport->rows_sent;
  return together;
}

TEST(SweepTransport, ManyRanksGiveTheBytesOfOne) {
  const TemporaryFolder folder;
  const SweepSpec spec = small_sweep();
  ASSERT_TRUE(run_alone(spec, options_to(folder.file("alone.csv"))).has_value());
  const Together together = run_together(spec, {spec, spec, spec}, folder.file("together.csv"));
  ASSERT_TRUE(together.led.has_value()) << together.led.error().what;
  for (const Status& status : together.worked) EXPECT_TRUE(status.has_value());
  EXPECT_GT(together.rows_sent, 0);
  EXPECT_EQ(content_of(folder.file("together.csv")), content_of(folder.file("alone.csv")));
}

TEST(SweepTransport, RanksThatSeeOtherInputsEndTheSweep) {
  const TemporaryFolder folder;
  SweepSpec other = small_sweep();
  const auto axis = parse_axis(SweepField::kSeqLength, "1024");
  ASSERT_TRUE(axis.has_value());
  other.set_axis(*axis);
  // So many points that rank 0 cannot finish alone before the other one has looked.
  SweepSpec spec = small_sweep();
  const auto many = parse_axis(SweepField::kGlobalBatch, "16:16000:+16");
  ASSERT_TRUE(many.has_value());
  spec.set_axis(*many);
  const Together together = run_together(spec, {other}, folder.file("a.csv"));
  ASSERT_FALSE(together.led.has_value());
  EXPECT_EQ(together.led.error().what,
            "process 1: the model, cluster, trace or sweep files here differ from those of process 0");
  EXPECT_FALSE(together.worked[0].has_value());
}

TEST(SweepTransport, ARankWithoutItsFilesSaysWhy) {
  const TemporaryFolder folder;
  SweepSpec spec = small_sweep();
  const auto many = parse_axis(SweepField::kGlobalBatch, "16:16000:+16");
  ASSERT_TRUE(many.has_value());
  spec.set_axis(*many);
  const Together together =
      run_together(spec, {invalid_input("cannot open: gone", "sweep.json")}, folder.file("a.csv"));
  ASSERT_FALSE(together.led.has_value());
  EXPECT_EQ(together.led.error().kind, ErrorKind::kInvalidInput);
  EXPECT_EQ(together.led.error().what, "process 1: cannot open: gone");
  EXPECT_EQ(together.led.error().where, "sweep.json");
}

TEST(SweepTransport, ALeaderThatCannotStartSendsTheOthersHome) {
  const SweepSpec spec = small_sweep();
  const Together together = run_together(spec, {spec, spec}, "no/such/folder/a.csv");
  EXPECT_FALSE(together.led.has_value());
  for (const Status& status : together.worked) EXPECT_TRUE(status.has_value());
}

}  // namespace
}  // namespace moesim
