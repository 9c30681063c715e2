#include "models/shape/checkpoint_index.hpp"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

namespace moesim {
namespace {

constexpr double kWorthARemark = 1e-3;
constexpr std::int64_t kLargestCheckpoint = 1'000'000'000'000'000'000;

std::optional<std::int64_t> bytes_per_number(JsonReader config) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    const auto name = config.string_or(key, "");
    if (!name) continue;
    if (*name == "bfloat16" || *name == "float16") return 2;
    if (*name == "float32") return 4;
  }
  auto text = config.optional("text_config");
  return text && text->is_object() ? bytes_per_number(*text) : std::nullopt;
}

Result<std::int64_t> total_size(const std::string& path) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_file(path));
  MOESIM_ASSIGN(JsonReader metadata, document.root().required("metadata"));
  return metadata.required_int("total_size", 0, kLargestCheckpoint);
}

}  // namespace

std::optional<std::string> compare_with_checkpoint(const ModelShape& shape, const JsonReader& config,
                                                   const std::string& config_path) {
  constexpr const char* kIndex = "model.safetensors.index.json";
  const std::filesystem::path path = std::filesystem::path(config_path).parent_path() / kIndex;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored) || config.has("quantization_config")) return std::nullopt;
  const auto width = bytes_per_number(config);
  if (!width) return std::nullopt;
  const auto size = total_size(path.string());
  if (!size) return fmt::format("{} beside the config cannot be read: {}", kIndex, size.error().what);
  const double held = static_cast<double>(*size) / static_cast<double>(*width);
  const double ours = static_cast<double>(count_parameters(shape).stored());
  if (std::abs(held - ours) <= kWorthARemark * held) return std::nullopt;
  return fmt::format("{} holds {:.0f} numbers, this shape has {:.0f} ({:+.2f} %){}", kIndex, held, ours,
                     (ours / held - 1) * 100,
                     shape.mtp_layers > 0 ? "; a checkpoint may hold the MTP modules too" : "");
}

}  // namespace moesim
