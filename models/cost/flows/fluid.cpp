#include "models/cost/flows/fluid.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <utility>

#include "base/error.hpp"

namespace moesim {
namespace {

class FluidPlay {
 public:
  FluidPlay(const FluidNetwork& network, double window)
      : network_(network),
        window_(window),
        batches_(static_cast<std::size_t>(network.batches())),
        links_(network.capacities().size()) {
    for (std::int32_t b = 0; b < network.batches(); ++b)
      for (const LinkUse& use : network.uses_of(b)) ++links_[static_cast<std::size_t>(use.link)].batches;
    std::int64_t next = 0;
    for (Link& link : links_) link.first = std::exchange(next, next + link.batches);
    batches_on_.resize(static_cast<std::size_t>(next));
    std::vector<std::int64_t> filled(links_.size(), 0);
    for (std::int32_t b = 0; b < network.batches(); ++b)
      for (const LinkUse& use : network.uses_of(b)) {
        const auto l = static_cast<std::size_t>(use.link);
        batches_on_[static_cast<std::size_t>(links_[l].first + filled[l]++)] = {b, use.flows};
      }
  }

  FluidNetwork::Outcome run() {
    FluidNetwork::Outcome outcome;
    outcome.ends.assign(batches_.size(), 0);
    std::vector<std::int32_t> arrivals;
    for (std::int32_t b = 0; b < network_.batches(); ++b) arrivals.push_back(b);
    std::stable_sort(arrivals.begin(), arrivals.end(),
                     [&](std::int32_t a, std::int32_t b) { return network_.start_of(a) < network_.start_of(b); });
    std::size_t arrived = 0;
    while (arrived < arrivals.size() || !active_.empty()) {
      const double next_start = arrived < arrivals.size() ? network_.start_of(arrivals[arrived]) : -1;
      const double next_end = first_end();
      touched_.clear();
      if (next_start >= 0 && (active_.empty() || next_start < next_end)) {
        for (; arrived < arrivals.size() && network_.start_of(arrivals[arrived]) <= next_start; ++arrived)
          begin(arrivals[arrived], next_start);
        settle(next_start);
      } else {
        settle(finish(next_end, next_start, outcome));
      }
      ++outcome.events;
    }
    return outcome;
  }

 private:
  struct Batch {
    double rate = 0;
    double left = 0;   // bytes, at `since`
    double since = 0;  // seconds
    double end = 0;    // at this rate
    bool active = false;
    bool fixed = false;   // its rate, in this round of water filling
    bool marked = false;  // is worked out anew
  };
  struct Link {
    std::int64_t first = 0;
    std::int64_t batches = 0;
    double left = 0;        // capacity not given to fixed batches
    double flows = 0;       // not fixed yet,
    std::int64_t open = 0;  // in so many batches
    bool marked = false;
  };
  struct Share {
    double rate;
    std::int32_t link;
    bool operator>(const Share& other) const { return std::pair(rate, link) > std::pair(other.rate, other.link); }
  };
  struct OnLink {
    std::int32_t batch;
    double flows;
  };

  Batch& batch(std::int32_t b) { return batches_[static_cast<std::size_t>(b)]; }
  Link& link(std::int32_t l) { return links_[static_cast<std::size_t>(l)]; }
  [[nodiscard]] std::span<const OnLink> on(const Link& link) const {
    return std::span(batches_on_).subspan(static_cast<std::size_t>(link.first), static_cast<std::size_t>(link.batches));
  }
  void touch(std::int32_t b) {
    for (const LinkUse& use : network_.uses_of(b)) touched_.push_back(use.link);
  }

  void begin(std::int32_t b, double now) {
    batch(b) = {.left = network_.bytes_of(b), .since = now, .active = true};
    active_.push_back(b);
    touch(b);
  }

  // A look at each active batch is cheaper than an order that most events overturn.
  [[nodiscard]] double first_end() {
    double first = std::numeric_limits<double>::infinity();
    for (const std::int32_t b : active_) first = std::min(first, batch(b).end);
    return first;
  }

  // All that end within the window, at the last of their ends, though not beyond the next start.
  double finish(double first, double next_start, FluidNetwork::Outcome& outcome) {
    double last = first + std::max(window_, first * 1e-12);  // what rounding sets apart ends together
    if (next_start >= 0) last = std::min(last, std::max(first, next_start));
    double now = first;
    std::erase_if(active_, [&](std::int32_t b) {
      Batch& one = batch(b);
      if (one.end > last) return false;
      one.active = false;
      now = std::max(now, one.end);
      outcome.ends[static_cast<std::size_t>(b)] = one.end;
      touch(b);
      return true;
    });
    outcome.end = std::max(outcome.end, now);
    return now;
  }

  // New rates for whatever the touched links reach over active batches.
  void settle(double now) {
    marked_links_.clear();
    marked_batches_.clear();
    for (const std::int32_t l : touched_) mark(l);
    for (std::size_t head = 0; head < marked_links_.size(); ++head)
      for (const OnLink& entry : on(link(marked_links_[head]))) {
        Batch& b = batch(entry.batch);
        if (!b.active || b.marked) continue;
        b.marked = true;
        b.fixed = false;
        b.left -= b.rate * (now - b.since);
        b.since = now;
        marked_batches_.push_back(entry.batch);
        for (const LinkUse& use : network_.uses_of(entry.batch)) mark(use.link);
      }
    fill();
    for (const std::int32_t b : marked_batches_) {
      Batch& one = batch(b);
      one.marked = false;
      one.end = now + std::max(0.0, one.left) / one.rate;
    }
    for (const std::int32_t l : marked_links_) link(l).marked = false;
  }

  void mark(std::int32_t l) {
    if (link(l).marked) return;
    link(l).marked = true;
    marked_links_.push_back(l);
  }

  void fill() {
    for (const std::int32_t l : marked_links_) {
      link(l).left = network_.capacities()[static_cast<std::size_t>(l)];
      link(l).flows = 0;
      link(l).open = 0;
    }
    for (const std::int32_t b : marked_batches_)
      for (const LinkUse& use : network_.uses_of(b)) {
        link(use.link).flows += use.flows;
        ++link(use.link).open;
      }
    for (const std::int32_t l : marked_links_)
      if (link(l).open > 0) shares_.push({link(l).left / link(l).flows, l});
    while (!shares_.empty()) {
      const Share least = shares_.top();
      shares_.pop();
      Link& tight = link(least.link);
      if (tight.open == 0) continue;
      // Shares only grow while others are fixed: one that has grown goes back into the queue.
      const double share = std::max(0.0, tight.left) / tight.flows;
      if (share > least.rate * (1 + 1e-12)) {
        shares_.push({share, least.link});
        continue;
      }
      for (const OnLink& entry : on(tight)) {
        Batch& b = batch(entry.batch);
        if (!b.marked || b.fixed) continue;
        b.fixed = true;
        b.rate = least.rate;
        for (const LinkUse& use : network_.uses_of(entry.batch)) {
          link(use.link).left -= least.rate * use.flows;
          link(use.link).flows -= use.flows;
          --link(use.link).open;
        }
      }
    }
  }

  const FluidNetwork& network_;
  double window_;
  std::vector<Batch> batches_;
  std::vector<Link> links_;
  std::vector<OnLink> batches_on_;
  std::vector<std::int32_t> active_, touched_, marked_links_, marked_batches_;
  std::priority_queue<Share, std::vector<Share>, std::greater<>> shares_;
};

}  // namespace

std::int32_t FluidNetwork::add(double bytes, double start_seconds, std::span<const LinkUse> uses) {
  MOESIM_ASSERT(bytes > 0 && !uses.empty());
  bytes_.push_back(bytes);
  start_.push_back(start_seconds);
  uses_.insert(uses_.end(), uses.begin(), uses.end());
  first_use_.push_back(static_cast<std::int64_t>(uses_.size()));
  return batches() - 1;
}

FluidNetwork::Outcome FluidNetwork::play(double window_seconds) const { return FluidPlay(*this, window_seconds).run(); }

}  // namespace moesim
