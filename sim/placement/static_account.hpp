// What a policy has really gained over experts that never moved, in one layer, and so whether it may go on: a decision rests on a
// prediction, and where the gate drifts what was promised need not come.
//
// The account is static time less real time, switches apart, over the records so far; both follow from their counts. Once it is below the
// floor, 0 at first, the layer goes back to the static placement, and the policy decides on paper only. It comes back when its decisions
// on paper would have gained, since then, more than all the debt, their own switches, and the switch to come. The debt becomes the floor, until
// the account is even again.
// So what is lost beyond switches at any time is at most the sum of single intervals between records, one for each time that a layer was
// stopped, and one that cannot be known yet; and each return takes a longer proof than the one before. Losses l in each of n such
// intervals take gains of l + 2 l + ... + n l on paper in between: n grows with the square root of time.
// Worked, records of 10 iterations, static 5 s: 8 s after a decision: -30 s, stopped. On paper 3 s then gains 20 s a record: 20 s are not enough,
// 40 s are, if the switch takes less than 10 s. The floor is -30 s.
#pragma once

#include <algorithm>

#include "base/units.hpp"

namespace moesim {

class StaticAccount {
 public:
  // One record of so many iterations: an iteration with static experts, as it was, and as the policy wanted it.
  void add(double iterations, Seconds still, Seconds real, Seconds wanted) {
    static_time_ += iterations * still;
    gained_ += iterations * (still - real);
    if (stopped_) on_paper_ += iterations * (still - wanted);
    if (gained_ >= Seconds(0)) floor_ = Seconds(0);
  }
  void pay_on_paper(Seconds price) { on_paper_ -= price; }

  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] bool must_stop() const { return !stopped_ && gained_ < floor_ - kRounding * static_time_; }
  [[nodiscard]] bool may_return(Seconds price) const { return stopped_ && on_paper_ > price - gained_; }
  void stop() {
    stopped_ = true;
    on_paper_ = Seconds(0);
  }
  void come_back() {
    stopped_ = false;
    floor_ = std::min(gained_, Seconds(0));
  }

 private:
  static constexpr double kRounding = 1e-9;  // of sums over many records
  Seconds static_time_;
  Seconds gained_;
  Seconds floor_;
  Seconds on_paper_;
  bool stopped_ = false;
};

}  // namespace moesim
