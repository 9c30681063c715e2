#include <fmt/format.h>

#include "exec/bench/cases.hpp"
#include "exec/bench/device_buffer.hpp"

namespace moesim {
namespace {

struct Operands {
  DeviceMatrixBuffer q, k, v, o, lse, go, gq, gk, gv;
  OwnedMemory positions, sequences;
};

AttentionHeads heads_of(const AttentionWork& work) {
  return {work.heads, work.kv_heads, work.qk_dim, work.v_dim, work.window};
}

Result<Operands> make_operands(BenchContext& context, const AttentionWork& work) {
  const std::int64_t rows = work.sequences * work.query_length;
  Operands all;
  MOESIM_ASSIGN(all.q, matrix(context, rows, work.heads * work.qk_dim, work.type));
  MOESIM_ASSIGN(all.k, matrix(context, rows, work.kv_heads * work.qk_dim, work.type));
  MOESIM_ASSIGN(all.v, matrix(context, rows, work.kv_heads * work.v_dim, work.type));
  MOESIM_ASSIGN(all.o, matrix(context, rows, work.heads * work.v_dim, work.type));
  MOESIM_ASSIGN(all.lse, matrix(context, rows, work.heads, DType::kFp32));
  if (work.backward) {
    MOESIM_ASSIGN(all.go, matrix(context, rows, work.heads * work.v_dim, work.type));
    MOESIM_ASSIGN(all.gq, matrix(context, rows, work.heads * work.qk_dim, work.type));
    MOESIM_ASSIGN(all.gk, matrix(context, rows, work.kv_heads * work.qk_dim, work.type));
    MOESIM_ASSIGN(all.gv, matrix(context, rows, work.kv_heads * work.v_dim, work.type));
  }
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> sequences;
  for (std::int64_t row = 0; row < rows; ++row) {
    positions.push_back(static_cast<std::int32_t>(row % work.query_length));
    sequences.push_back(static_cast<std::int32_t>(row / work.query_length));
  }
  MOESIM_ASSIGN(all.positions, indices(context, positions));
  MOESIM_ASSIGN(all.sequences, indices(context, sequences));
  return all;
}

Result<PreparedCase> prepare(BenchContext& context, const AttentionWork& work) {
  MOESIM_ASSIGN(const Operands all, make_operands(context, work));
  const std::int64_t rows = work.sequences * work.query_length;
  const TokenPlaces places{{static_cast<const std::int32_t*>(all.positions.get()), rows},
                           {static_cast<const std::int32_t*>(all.sequences.get()), rows}};
  const AttentionArgs forward{heads_of(work), places,     places,     all.q.view,
                              all.k.view,     all.v.view, all.o.view, all.lse.view};
  // Leaves o and lse as the gradient expects them.
  MOESIM_TRY(context.backend.attention(context.stream, forward));
  MOESIM_ASSIGN(const MatricesInTurn o, MatricesInTurn::copies(context, all.o.view));
  MOESIM_ASSIGN(const MatricesInTurn lse, MatricesInTurn::copies(context, all.lse.view));
  if (!work.backward)
    return PreparedCase{.run =
                            [&context, all, forward, o, lse] {
                              AttentionArgs args = forward;
                              args.o = o.next();
                              args.lse = lse.next();
                              return context.backend.attention(context.stream, args);
                            },
                        .finish = {}};
  MOESIM_ASSIGN(const MatricesInTurn q, MatricesInTurn::copies(context, all.q.view));
  MOESIM_ASSIGN(const MatricesInTurn k, MatricesInTurn::copies(context, all.k.view));
  MOESIM_ASSIGN(const MatricesInTurn v, MatricesInTurn::copies(context, all.v.view));
  return PreparedCase{.run =
                          [&context, all, places, shape = heads_of(work), q, k, v, o, lse] {
                            return context.backend.attention_grad(
                                context.stream, {shape, places, places, all.go.view, q.next(), k.next(), v.next(),
                                                 o.next(), lse.next(), all.gq.view, all.gk.view, all.gv.view});
                          },
                      .finish = {}};
}

}  // namespace

std::vector<PlannedCase> attention_cases(BenchScale scale, const std::vector<std::string>&) {
  const bool small = scale == BenchScale::kSmall;
  struct Heads {
    std::int64_t sequences, heads, kv_heads, dim;
  };
  using Numbers = std::vector<std::int64_t>;
  const Numbers lengths = small ? Numbers{32, 64, 128, 256, 512} : Numbers{1024, 2048, 4096, 8192};
  // Every size at two values at least, not each with each of the others.
  const std::vector<Heads> shapes =
      small ? std::vector<Heads>{{1, 2, 2, 64}, {1, 4, 2, 8}, {1, 8, 8, 32}, {2, 4, 2, 64}, {2, 8, 4, 8}, {4, 8, 2, 64}}
            : std::vector<Heads>{{1, 32, 8, 128}, {1, 16, 16, 64}, {2, 32, 4, 128}, {2, 16, 16, 128}};
  const std::vector<DType> types =
      small ? std::vector<DType>{DType::kFp32, DType::kBf16} : std::vector<DType>{DType::kBf16};
  std::vector<PlannedCase> cases;
  for (const DType type : types)
    for (const Heads& shape : shapes)
      for (const std::int64_t length : lengths)
        for (const bool backward : {false, true}) {
          const AttentionWork work{.sequences = shape.sequences,
                                   .query_length = length,
                                   .key_length = length,
                                   .heads = shape.heads,
                                   .kv_heads = shape.kv_heads,
                                   .qk_dim = shape.dim,
                                   .v_dim = shape.dim,
                                   .backward = backward,
                                   .type = type};
          cases.push_back(
              {.name = fmt::format("attention {} {}x{} {} heads of {}, {} of keys{}", dtype_name(type), shape.sequences,
                                   length, shape.heads, shape.dim, shape.kv_heads, backward ? ", backward" : ""),
               .work = work,
               .prepare = [work](BenchContext& context) { return prepare(context, work); }});
        }
  return cases;
}

}  // namespace moesim
