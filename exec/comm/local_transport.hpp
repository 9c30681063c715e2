// Ranks that are threads of one process. A send copies its data into the receiver's mailbox and is done.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "exec/comm/transfer_table.hpp"
#include "exec/comm/transport.hpp"

namespace moesim {

// What the threads share.
class LocalHub {
 public:
  // One rank for each host name; the ranks of a host have the same.
  explicit LocalHub(std::vector<std::string> hosts);

  struct Letter {
    RankId from;
    int tag = 0;
    std::vector<std::byte> data;
  };

  [[nodiscard]] int size() const { return static_cast<int>(hosts_.size()); }
  [[nodiscard]] std::string_view host_of(RankId rank) const { return hosts_[rank.index()]; }
  void deliver(RankId to, Letter letter);
  // Everything that has come for `rank`, in the order of each sender.
  [[nodiscard]] std::vector<Letter> collect(RankId rank);
  // The first reason counts.
  void abort_all(RankId by, std::string_view reason);
  [[nodiscard]] Status health() const;

 private:
  struct Mailbox {
    std::mutex mutex;
    std::vector<Letter> letters;
    std::atomic<bool> filled = false;
  };

  std::vector<std::string> hosts_;
  std::deque<Mailbox> mailboxes_;  // a deque, since mailboxes cannot move
  std::atomic<bool> aborted_ = false;
  mutable std::mutex mutex_;
  std::string reason_;  // of the abort
};

class LocalTransport final : public Transport {
 public:
  LocalTransport(LocalHub& hub, RankId rank) : hub_(hub), rank_(rank) {}

  [[nodiscard]] RankId rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return hub_.size(); }
  [[nodiscard]] std::string_view host_of(RankId rank) const override { return hub_.host_of(rank); }
  [[nodiscard]] int largest_tag() const override { return INT32_MAX; }
  [[nodiscard]] Result<TransferId> send(RankId to, int tag, std::span<const std::byte> data) override;
  [[nodiscard]] Result<TransferId> receive(RankId from, int tag, std::span<std::byte> data) override;
  [[nodiscard]] Result<bool> progress() override;
  [[nodiscard]] Result<std::optional<std::size_t>> take_if_done(TransferId transfer) override;
  void abort_all(std::string_view reason) override { hub_.abort_all(rank_, reason); }
  void give_up() override {}

 private:
  struct Transfer {
    std::span<std::byte> into;  // of a receive
    std::optional<std::size_t> moved;
  };
  struct Line {  // what came from one sender with one tag, and what waits for it; one of the two is empty
    std::deque<std::vector<std::byte>> early;
    std::deque<TransferId> waiting;
  };
  [[nodiscard]] Line& line(RankId from, int tag) { return lines_[{from, tag}]; }
  void finish(TransferId id, const std::vector<std::byte>& data);

  LocalHub& hub_;
  RankId rank_;
  TransferTable<Transfer> transfers_;
  std::map<std::pair<RankId, int>, Line> lines_;
};

}  // namespace moesim
