// What a sweep can vary: the fields of a plan file, each with its range and its place in the order of points.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "base/json_reader.hpp"
#include "sim/plan/plan.hpp"

namespace moesim {

// In the order of the points: the last one varies fastest.
enum class SweepField : std::uint8_t {
  kModel,
  kCluster,
  kNodes,
  kTrace,
  kSeqLength,
  kGlobalBatch,
  kPrecision,
  kTp,
  kCp,
  kPp,
  kVpp,
  kDp,
  kEp,
  kEsp,
  kMicroBatch,
  kRecompute,
  kZeroDense,
  kZeroExpert,
  kPipeline,
  kMoeSchedule,
  kMoeDegree,
  kMoeBackwardDegree,
  kMoeShadows,
  kAllToAll,
  kCapacityFactor,
  kCount,
};
constexpr std::size_t kSweepFields = static_cast<std::size_t>(SweepField::kCount);

enum class FieldKind : std::uint8_t { kWhole, kNumber, kWord };

struct FieldTraits {
  SweepField field;
  std::string_view name;     // in a specification and in the result: "micro_batch"
  std::string_view options;  // on the command line, short one first: "--mbs,--micro-batch"
  FieldKind kind;
  std::int64_t smallest;  // of numbers
  std::int64_t largest;
  std::string_view description;
};
[[nodiscard]] std::span<const FieldTraits, kSweepFields> sweep_fields();
[[nodiscard]] const FieldTraits& traits_of(SweepField field);

using AxisValue = std::variant<std::int64_t, double, std::string>;

struct SweepAxis {
  SweepField field = SweepField::kModel;
  std::vector<AxisValue> values;
};

// The word for routing without a trace.
inline constexpr std::string_view kBalancedRouting = "balanced";

// "1,2,4", "8:64:x2", "none,full": axis.hpp, with the field's range, or for words with the words that exist.
[[nodiscard]] Result<SweepAxis> parse_axis(SweepField field, std::string_view text);
// A list of values, one value, or text as on the command line.
[[nodiscard]] Result<SweepAxis> read_axis(SweepField field, const JsonReader& reader);

// Puts a value where it belongs in the plan.
void apply(SweepField field, const AxisValue& value, PlanFile& file);

}  // namespace moesim
