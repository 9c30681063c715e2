// Which rank does what: two meshes over the same ranks that agree on the pipeline dimension only.
//
//   dense part    TP x CP x DP x PP      (sequence parallelism shares the TP group)
//   expert part  ESP x EP x EDP x PP     ESP cuts one expert's hidden dimension, EP spreads experts, EDP replicates
//   world = TP*CP*DP*PP = ESP*EP*EDP*PP  (Megatron-Core's parallel folding, arXiv 2504.14960)
//
// An EP group may be divided into runs of `ep_on_node` consecutive members, those that stand on one node: tokens then cross to a node
// once, between members of equal place in their runs (kEpAcross), and go on inside it (kEpInside). EP 8 with runs of 4: across
// {0,4}{1,5}{2,6}{3,7}, inside {0..3}{4..7}.
//
// Ranks are laid out innermost dimension first in the order given, "tp-cp-ep-dp-pp" by default; the dense mesh reads
// tp, cp, dp, pp from it, the expert mesh esp (at tp's place), ep, edp (at dp's place), pp. Consecutive ranks fill a node.
// When pp does not stand outermost the dense mesh says which ranks form a stage, and the expert mesh is laid over those
// ranks; where both meshes have the same number of ranks inside pp this is Megatron's rule, elsewhere Megatron refuses.
// Example: world 8, tp 2, dp 4, pp 1, esp 1, ep 4, edp 2: TP {0,1}{2,3}.., EP {0..3}{4..7}, EDP {0,4}{1,5}{2,6}{3,7}.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/ids.hpp"

namespace moesim {

struct ParallelSizes {
  int tp = 1;
  int cp = 1;
  int pp = 1;
  int vpp = 1;  // model chunks (virtual stages) per rank; fixed by the pipeline schedule for ZBV and DualPipe
  int dp = 1;
  int ep = 1;
  int esp = 1;
  int edp = 1;
  int ep_on_node = 1;  // members of a run of the EP group; divides ep
  [[nodiscard]] int world() const { return tp * cp * dp * pp; }
  bool operator==(const ParallelSizes&) const = default;
};

enum class GroupKind : std::uint8_t {
  kSelf,    // the rank alone
  kTp,      // dense tensor parallelism, and sequence parallelism with it
  kCp,      // context parallelism
  kDp,      // dense data parallelism
  kDpCp,    // ranks that hold the same dense parameters: gradients are reduced over it
  kEp,      // expert parallelism
  kEsp,     // shards of one expert
  kEpEsp,   // the fused group of Parm: every rank of the EP group and all shards
  kEdp,     // replicas of the same expert shard
  kPp,      // the stages of one pipeline
  kMirror,  // stages s and pp-1-s of one pipeline: the two copies of DualPipe, both ends of a tied embedding
  kWorld,
  kEpAcross,  // of an EP group the members with the same place in their runs
  kEpInside,  // and those of one run
};
constexpr int kGroupKinds = 14;
[[nodiscard]] std::string_view group_name(GroupKind kind);  // "ep"

struct LayoutSpec {
  ParallelSizes sizes;
  std::string order = "tp-cp-ep-dp-pp";
  // Physical rank of each logical rank; empty: the identity. For placing a pipeline or an EP group by hand.
  std::vector<RankId> device_map = {};
  bool operator==(const LayoutSpec&) const = default;
};

constexpr int kLargestWorld = 1 << 20;  // ranks; keeps every product of sizes far from overflow

// The dimensions of an order, innermost first, as a permutation of tp, cp, ep, dp, pp.
enum class MeshDimension : std::uint8_t { kTp, kCp, kEp, kDp, kPp };
[[nodiscard]] Result<std::array<MeshDimension, 5>> parse_order(std::string_view order);

// All that Layout::make demands, without building the groups: sizes, order, divisibility (worded as Megatron does),
// the device map.
[[nodiscard]] Status check_layout(const LayoutSpec& spec, int world);

// Whether the dense and the expert mesh have equally many ranks inside pp, as Megatron-LM demands of its own orders.
[[nodiscard]] bool meshes_nest_alike(const LayoutSpec& spec);

class Layout {
 public:
  [[nodiscard]] static Result<Layout> make(const LayoutSpec& spec, int world);

  [[nodiscard]] const ParallelSizes& sizes() const { return spec_.sizes; }
  [[nodiscard]] const LayoutSpec& spec() const { return spec_; }
  [[nodiscard]] int world() const { return world_; }

  struct Coordinates {
    int tp, cp, dp, pp;
    int esp, ep, edp;
    bool operator==(const Coordinates&) const = default;
  };
  [[nodiscard]] const Coordinates& at(RankId rank) const { return coordinates_[rank.index()]; }
  [[nodiscard]] StageId stage(RankId rank) const { return StageId(at(rank).pp); }

  // Members in the order of their coordinate (innermost dimension fastest in the groups of two); `rank` is one of them.
  [[nodiscard]] std::span<const RankId> group(GroupKind kind, RankId rank) const;
  [[nodiscard]] int index_in_group(GroupKind kind, RankId rank) const;
  // All groups of a kind have this size, but for kMirror: with an odd number of stages the middle one mirrors itself, and
  // its ranks stand alone.
  [[nodiscard]] int group_size(GroupKind kind) const;
  // The groups of a kind, for instance to print or to price them, numbered by their first member in logical order.
  [[nodiscard]] int group_count(GroupKind kind) const;
  [[nodiscard]] std::span<const RankId> group_at(GroupKind kind, int index) const;
  [[nodiscard]] int group_index(GroupKind kind, RankId rank) const;

  // The ranks of a stage, ascending.
  [[nodiscard]] std::span<const RankId> stage_ranks(StageId stage) const;

 private:
  Layout() = default;
  void place_ranks();
  void build_groups(GroupKind kind);

  LayoutSpec spec_;
  int world_ = 0;
  std::array<MeshDimension, 5> order_{};
  std::vector<Coordinates> coordinates_;
  struct Groups {
    int size = 1;
    std::vector<RankId> members;         // group after group
    std::vector<std::int32_t> begin;     // of each group among the members, and their number at the end
    std::vector<std::int32_t> group_of;  // by rank
    std::vector<std::int32_t> index_of;  // by rank
  };
  std::array<Groups, kGroupKinds> groups_;
  std::vector<RankId> by_stage_;
};

}  // namespace moesim
