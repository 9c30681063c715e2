#include "exec/bench/cases.hpp"
#include "exec/bench/device_buffer.hpp"

namespace moesim {

std::vector<PlannedCase> launch_cases(BenchScale, const std::vector<std::string>&) {
  return {{.name = "launch", .work = LaunchWork{}, .prepare = [](BenchContext& context) -> Result<PreparedCase> {
             MOESIM_ASSIGN(const DeviceMatrixBuffer one, matrix(context, 1, 1, DType::kFp32));
             MatrixView nothing = one.view;
             nothing.rows = 0;
             return PreparedCase{.run =
                                     [&context, one, nothing] {
                                       return context.backend.add(context.stream, {nothing, nothing, nothing});
                                     },
                                 .finish = {}};
           }}};
}

}  // namespace moesim
