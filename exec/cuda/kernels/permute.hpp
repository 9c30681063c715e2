// Rows of tokens into the order of experts and back (routing_args.hpp). Maps are device memory.
#pragma once

#include "exec/cuda/kernels/operand.hpp"

namespace moesim::gpu {

struct Copies {
  std::int64_t tokens = 0;
  std::int64_t top_k = 1;
  const std::int32_t* row_of_copy = nullptr;  // -1: dropped
  const std::int32_t* copy_of_row = nullptr;  // -1: padding
};

// Absent operands are not read or written. `weights`, `gweights`: FP32 [rows, 1].
void permute(Stream stream, const Copies& copies, const Operand& x, const Operand& probabilities, const Operand& y,
             const Operand& weights);
void permute_grad(Stream stream, const Copies& copies, const Operand& gy, const Operand& gweights, const Operand& gx,
                  const Operand& gp);
void unpermute(Stream stream, const Copies& copies, const Operand& y, const Operand& probabilities, const Operand& x);
void unpermute_grad(Stream stream, const Copies& copies, const Operand& gx, const Operand& probabilities,
                    const Operand& y, const Operand& gy, const Operand& gp);

// Runs of rows: run i is rows [from, from + rows) of x and begins at row `to` of y; `first` counts the rows of the runs before
// it. In device memory, in the order of `first`; no run is empty.
struct RowRun {
  std::int64_t first, from, to, rows;
};
void move_rows(Stream stream, const RowRun* runs, std::int64_t count, std::int64_t rows, const Operand& x,
               const Operand& y);  // rows: of all runs
// The same with the rows of a map, `rows` in all, from a copy of its copy_of_row; row_of_copy follows (DealRowsArgs).
void deal_rows(Stream stream, const RowRun* runs, std::int64_t count, std::int64_t rows, const std::int32_t* before,
               std::int32_t* copy_of_row, std::int32_t* row_of_copy);

}  // namespace moesim::gpu
