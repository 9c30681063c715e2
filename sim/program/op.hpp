// One typed operation of a program: a kernel or a communication of every rank of a role. What it computes is its kind and
// its operands; what it costs and what it needs in memory follow from their shapes, so nothing is said twice.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "base/ids.hpp"
#include "sim/engine/replay_program.hpp"
#include "sim/plan/layout.hpp"
#include "sim/program/tensor.hpp"

namespace moesim {

// Operands are listed as inputs -> outputs; X is tokens by width, W a weight, g marks the gradient of a tensor.
enum class OpKind : std::uint8_t {
  kEmbedding,         // W -> X                       rows of the table picked by token id
  kEmbeddingGrad,     // gX -> gW
  kNorm,              // X, W -> Y
  kNormGrad,          // gY, X, W -> gX                 (and gW, too small to name)
  kGemm,              // X, W -> Y
  kGemmDgrad,         // gY, W -> gX
  kGemmWgrad,         // X, gY -> gW
  kGroupedGemm,       // X, W -> Y                     one GEMM per local expert, rows from the loads
  kGroupedGemmDgrad,  // gY, W (, S) -> gX             S: what other blocks of columns have added so far
  kGroupedGemmWgrad,  // X, gY -> gW
  kRotary,            // Q/K/V (, W) -> Q/K/V          positions, per-head norms (W), layout
  kRotaryGrad,        // gY (, X) -> gX                 X: what the norms read
  kAttention,         // QKV (, gathered KV) -> O (, L)   L: log of the sum of exponentials by row and head, FP32
  kAttentionGrad,     // gO, QKV (, KV), O (, L) -> gQKV (, gKV)
  kActivation,        // X -> Y                        gated: Y has half the columns of X
  kActivationGrad,    // gY, X -> gX
  kAdd,               // A, B -> Y                     residual, or the sum of two gradients (or W... of two buckets)
  kCast,              // X -> Y                        to the GEMM's number format
  kTopK,              // logits -> probabilities
  kTopKGrad,          // gP, P, logits -> glogits
  kPermute,           // X, P -> Y                     token copies in expert order
  kPermuteGrad,       // gY -> gX                      sum of a token's copies
  kUnpermute,         // Y, P -> X                     weighted sum of a token's copies
  kUnpermuteGrad,     // gX, Y, P -> gY, gP
  kSortByExpert,      // Y -> Y                        arrived copies (by source) into expert order, or back
  kReplicate,         // Y -> Ys                       a copy for each shard of its expert
  kSumReplicas,       // Ys -> Y                       sum of what the shards made of a copy
  kSpread,            // X (, P) -> Y (, Q)            each row once for every part that it visits, the parts in order
  kSumSpread,         // Y (, Q) -> X (, P)            sum of what a row was spread to
  kCrossEntropy,      // logits -> S (, logits32)     S: maximum, sum of exponentials, label's logit by token
  kCrossEntropyGrad,  // logits32, S -> glogits
  kTakeShare,         // X -> Y                        this rank's share of rows that its group has alike
  kSplitColumns,      // X -> Y1, Y2...                pieces of as many columns each
  kJoinColumns,       // X1, X2... -> Y                and the whole of them
  kSplitRows,         // Y -> Y1, Y2...                copies in the order of pieces, each piece by itself
  kJoinRows,          // Y1, Y2... -> Y                and one behind the other
  kRecut,       // Y1, Y2... -> Z1, Z2...        arrived copies in other pieces, each in the order that they were in
  kScale,       // X -> Y                        times Op::factor
  kCompress,    // X -> Xc (, S)                 rows in the format they travel in (wire_format.hpp); S: their scales
  kDecompress,  // Xc (, S) -> X
  kAddExpertGrads,  // S -> gW                       of the experts in Op::cut, where this rank owns them
  kAllGather,       // X -> Y      over `group`, rows times group size (or gathered weights)
  kReduceScatter,   // X -> Y      over `group`, rows divided by group size
  kAllReduce,       // X -> X
  kDispatch,        // Y -> Z      all-to-all-v over `group`: token copies to the ranks of their experts
  kCombine,         // Z -> Y      all-to-all-v back
  kFetchExperts,  // W..., P -> V...   to every rank over `group`: weights of the experts in Op::cut, when the gate has chosen (P)
  kReturnExpertGrads,  // gV... -> S...   back: their gradients, summed where they are owned
  kSend,               // X ->        to a neighbouring stage
  kReceive,            // -> X
  kReduceGrads,    // W... ->     gradient bucket: all-reduce, or over kDpCp and kEdp reduce-scatter when ZeRO shards it
  kGatherParams,   // W... ->     parameter bucket: all-gather of ZeRO's shards
  kOptimizerStep,  // W... ->     AdamW over this rank's shard
  kGradNorm,       // -> scalar   all-reduce of one number over the world
};
[[nodiscard]] std::string_view op_kind_name(OpKind kind);
[[nodiscard]] bool is_communication(OpKind kind);

enum class Phase : std::uint8_t { kForward, kRecompute, kBackwardInput, kBackwardWeight, kGradSync, kOptimizer };
[[nodiscard]] std::string_view phase_name(Phase phase);

// What a kernel that does the work of several operations (Comet, arXiv 2502.19811) saves of this one.
enum class Fusion : std::uint8_t {
  kNone,
  kPiece,  // its launch, or the start of its communication: it continues the kernel that an operation before it began
  kAddressing,  // all of it: the kernel reads or writes the rows and columns where they belong
};

// Of the columns of a weight: block `index` of `of` equal ones.
struct ColumnBlock {
  std::int8_t index = 0;
  std::int8_t of = 1;
  bool operator==(const ColumnBlock&) const = default;
};

// Operands in place.
class OperandList {
 public:
  static constexpr int kMost = 16;
  OperandList() = default;
  OperandList(std::initializer_list<TensorId> ids) {
    for (const TensorId id : ids) push_back(id);
  }
  void push_back(TensorId id);
  [[nodiscard]] const TensorId* begin() const { return ids_.data(); }
  [[nodiscard]] const TensorId* end() const { return ids_.data() + size_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] TensorId operator[](int i) const { return ids_[static_cast<std::size_t>(i)]; }

 private:
  std::array<TensorId, kMost> ids_{};
  std::uint8_t size_ = 0;
};

struct Op {
  OpKind kind = OpKind::kAdd;
  Phase phase = Phase::kForward;
  Stream stream = Stream::kCompute;
  GroupKind group = GroupKind::kSelf;  // of a communication
  std::uint16_t wait_streams = 0;      // see ReplayOp
  std::int8_t second_half = 0;         // 1: belongs to the backward half of a forward-backward pair
  std::int16_t peer_stage = -1;        // send/receive: the stage at the other end
  LayerId layer;
  std::string_view name;  // "experts.up"; static text
  OperandList inputs;
  OperandList outputs;
  std::int32_t attention = -1;        // kAttention and its gradient: index into Chunk::attentions
  std::int64_t payload_elements = 0;  // gradient and parameter buckets: elements of this rank before sharding
  DType payload_type = DType::kBf16;
  std::int32_t after = -1;   // one more dependency: an earlier op of the same block; -1: none
  std::int32_t bucket = -1;  // gradient and parameter buckets of data parallelism: index into Program::buckets
  float factor = 1;          // kScale
  // kSortByExpert: 1: back into the order of arrival, of shares or of pieces. kRecut: 1: the pieces are in the order of arrival.
  std::int8_t to_source = 0;
  RowPiece cut = {};  // kSortByExpert: how the pieces are cut, where it is about those; of experts that move: which
  Fusion fusion = Fusion::kNone;
  ColumnBlock columns = {};  // of the products of experts: those of W that they multiply by, or of gW that they add to
};

}  // namespace moesim
