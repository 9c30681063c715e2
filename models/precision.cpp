#include "models/precision.hpp"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::array<std::string_view, 9> kNames = {"fp32", "tf32", "bf16",  "fp16", "fp8",
                                                    "fp4",  "int8", "int32", "int64"};

constexpr std::array<PrecisionRecipe, 5> kRecipes = {{
    {.name = "bf16"},
    {.name = "fp16",
     .compute = DType::kFp16,
     .activation = DType::kFp16,
     .weight = DType::kFp16,
     .gradient = DType::kFp16},
    {.name = "fp32",
     .compute = DType::kFp32,
     .activation = DType::kFp32,
     .weight = DType::kFp32,
     .gradient = DType::kFp32},
    // FP8 GEMMs over BF16 weights, with an FP8 copy of each weight and of its transpose.
    {.name = "fp8", .compute = DType::kFp8, .extra_weight_copies_fp8 = 2},
    // FP8 primary weights (one byte each, no BF16 copy).
    {.name = "fp8-params", .compute = DType::kFp8, .weight = DType::kFp8},
}};

}  // namespace

std::string_view dtype_name(DType type) { return kNames[static_cast<std::size_t>(type)]; }

Result<DType> parse_dtype(std::string_view name) {
  const std::string lower = to_lower(name);
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == lower) return static_cast<DType>(i);
  const std::vector<std::string> names(kNames.begin(), kNames.end());
  return invalid_input(fmt::format("unknown number format '{}'{}", name, did_you_mean(name, names)));
}

std::span<const PrecisionRecipe> precision_recipes() { return kRecipes; }

Result<PrecisionRecipe> find_precision(std::string_view name) {
  std::vector<std::string> names;
  for (const PrecisionRecipe& recipe : kRecipes) {
    if (recipe.name == name) return recipe;
    names.emplace_back(recipe.name);
  }
  return usage_error(fmt::format("unknown precision '{}'{}", name, did_you_mean(name, names)),
                     fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace moesim
