#include <fmt/format.h>

#include "exec/bench/cases.hpp"
#include "exec/bench/memory_kernels.hpp"

namespace moesim {

std::vector<PlannedCase> memory_cases(BenchScale scale, const std::vector<std::string>&) {
  const bool small = scale == BenchScale::kSmall;
  using Numbers = std::vector<std::int64_t>;
  const Numbers widths = small ? Numbers{256, 1024} : Numbers{1024, 4096};
  const Numbers lengths = small ? Numbers{4, 16, 64, 256, 1024, 4096} : Numbers{16, 128, 1024, 8192, 32768};
  const std::vector<DType> types =
      small ? std::vector<DType>{DType::kFp32, DType::kBf16} : std::vector<DType>{DType::kBf16};
  std::vector<PlannedCase> cases;
  for (const auto kernels : {layer_kernels(), routing_kernels(), token_kernels()})
    for (const MemoryKernelCase& kernel : kernels)
      for (const DType type : kernel.formats == KernelFormats::kFp32 ? std::vector<DType>{DType::kFp32} : types)
        for (const std::int64_t columns : widths)
          for (const std::int64_t rows : lengths) {
            const KernelShape shape{rows, columns, type};
            MemoryWork work = kernel.work(shape);
            work.kernel = kernel.kernel;
            work.type = type;
            cases.push_back(
                {.name = fmt::format("{} {} {}x{}", memory_kernel_name(kernel.kernel), dtype_name(type), rows, columns),
                 .work = work,
                 .prepare = [prepare = kernel.prepare, shape](BenchContext& context) {
                   return prepare(context, shape);
                 }});
          }
  return cases;
}

}  // namespace moesim
