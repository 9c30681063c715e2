// Identifiers that do not mix: a RankId is not an ExpertId even though both are small integers.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace moesim {

template <class Tag>
class Id {
 public:
  constexpr Id() = default;
  constexpr explicit Id(std::int32_t value) : value_(value) {}
  [[nodiscard]] constexpr std::int32_t value() const { return value_; }
  // For indexing the vectors that are laid out by this id.
  [[nodiscard]] constexpr std::size_t index() const { return static_cast<std::size_t>(value_); }
  [[nodiscard]] constexpr bool valid() const { return value_ >= 0; }
  constexpr auto operator<=>(const Id&) const = default;

 private:
  std::int32_t value_ = -1;  // -1: refers to nothing
};

using RankId = Id<struct RankTag>;      // one device of the job, 0 .. world-1
using NodeId = Id<struct NodeTag>;      // one host
using ExpertId = Id<struct ExpertTag>;  // logical expert of a layer
using LayerId = Id<struct LayerTag>;    // model layer, counted over dense and MoE layers alike
using StageId = Id<struct StageTag>;    // pipeline rank, 0 .. PP-1

}  // namespace moesim

template <class Tag>
struct std::hash<moesim::Id<Tag>> {
  std::size_t operator()(moesim::Id<Tag> id) const noexcept { return std::hash<std::int32_t>{}(id.value()); }
};
