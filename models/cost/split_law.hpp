// One collective split over several classes of links that join the same ranks (FlexLink: NVLink, PCIe and RDMA NICs at once): how
// much each should carry.
//
//   t = max over links of (start_i + w_i S / B_i),   sum of w_i = 1
//
// is least where all links that carry anything end together, and no other could begin before that end:
//
//   T = (S + sum of start_i B_i) / (sum of B_i)  over the links with start_i < T,   w_i S = (T - start_i) B_i
//
// Links join in the order of their starts while they begin before T. Example, 9 MB over 100 GB/s from 10 us on and 50 GB/s from 30 us
// on: T = (9 + 1 + 1.5) MB / 150 GB/s = 76.7 us, shares 0.741 and 0.259, where the first alone needs 100 us. Of 1 MB the first carries
// all in 20 us.
#pragma once

#include <span>
#include <vector>

#include "base/units.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cluster/link_paths.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {

struct SplitLink {
  Seconds start;
  BytesPerSecond rate;  // above 0
};

struct Split {
  std::vector<double> shares;  // as the links were given; sum 1
  Seconds time;
};
// At least one link.
[[nodiscard]] Split best_split(std::span<const SplitLink> links, Bytes size);
// The time under shares that somebody chose.
[[nodiscard]] Seconds split_time(std::span<const SplitLink> links, Bytes size, std::span<const double> shares);

// A way on which all of some ranks meet, with what an all-reduce by a ring makes of it: bytes of the buffer per second and the
// time of its hops.
struct SplitChannel {
  LinkClass link = LinkClass::kOther;  // of the narrowest link on the way
  int level = 0;                       // of LinkPaths
  SplitLink all_reduce;
};
// The fastest first; ways that share a link with a faster one are left out, since they would not add to it.
// Example, 2 ranks of a node with NVLink of 30 GB/s and a NIC of 10 GB/s each: both, and a share of 1/4 for the NICs of a long message.
[[nodiscard]] std::vector<SplitChannel> split_channels(const LinkPaths& links, std::span<const RankId> ranks,
                                                       const LawParameters& parameters);

}  // namespace moesim
