// Rows of a table by token id, and the gradient of the table (layer_args.hpp). `tokens` is device memory.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

void embedding(Stream stream, const std::int32_t* tokens, std::int64_t first_row, const Operand& table,
               const Operand& y);
// Adds to gtable, for each token in the order of the rows of gy.
void embedding_grad(Stream stream, const std::int32_t* tokens, std::int64_t first_row, const Operand& gy,
                    const Operand& gtable);

}  // namespace moesim::gpu
