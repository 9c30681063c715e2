// Any text as a model file: an error or a shape that passes its own check and can be counted and described.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "models/shape/describe.hpp"
#include "models/shape/model_flops.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto model = moesim::parse_model(text, "fuzz.json");
  if (!model) return 0;
  if (!moesim::check(model->shape)) std::abort();
  const moesim::ParameterCounts counts = moesim::count_parameters(model->shape);
  if (counts.total <= 0 || counts.active > counts.total) std::abort();
  if (!(moesim::model_flops_per_token(model->shape, 4096).value() > 0)) std::abort();
  if (moesim::describe(*model).empty()) std::abort();
  return 0;
}
