// What a transformer is made of: everything a cost, a memory figure or a parameter count needs, and nothing about how
// it is trained. Layers are listed one by one; readers of the shape never look at frequency rules of a config file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ids.hpp"

namespace moesim {

enum class AttentionKind : std::uint8_t {
  kGrouped,  // MHA, GQA and MQA: `kv_heads` says which
  kMla,      // multi-head latent attention (DeepSeek-V2)
  kLinear,   // gated delta net and its kin: no score matrix, cost linear in the sequence
};

struct AttentionShape {
  AttentionKind kind = AttentionKind::kGrouped;
  std::int64_t heads = 0;           // of queries; for linear attention of values
  std::int64_t kv_heads = 0;        // for linear attention: of queries and keys
  std::int64_t head_dim = 0;        // of queries and keys; for MLA qk_nope + qk_rope
  std::int64_t value_head_dim = 0;  // of values; equals head_dim except for MLA and linear attention
  // MLA only; q_lora 0 means that queries are projected directly.
  std::int64_t q_lora = 0;
  std::int64_t kv_lora = 0;
  std::int64_t qk_nope = 0;
  std::int64_t qk_rope = 0;
  // Linear attention only: taps of the short convolution over q, k and v, and the rank of the gate projections
  // (0: the output gate is one full matrix and the decay one number per head, as in Qwen3-Next).
  std::int64_t conv_kernel = 0;
  std::int64_t gate_rank = 0;
  std::int64_t window = 0;  // tokens seen back by a sliding or chunked layer; 0: the whole sequence
  bool chunked = false;     // `window` cuts the sequence into chunks that do not see each other (Llama 4)
  bool qkv_bias = false;    // for MLA: on the projections into the latents
  bool out_bias = false;
  bool qk_norm = false;       // RMS norm on each query and key head
  bool qk_norm_wide = false;  // that norm has a weight per element of all heads, not one head's shared by all
  bool sinks = false;         // one learned logit per head (gpt-oss)
  bool output_gate = false;   // queries carry a gate of the same width (Qwen3-Next)
  bool operator==(const AttentionShape&) const = default;
};

struct FfnShape {
  std::int64_t width = 0;  // intermediate size
  bool gated = true;       // SwiGLU: three matrices; false: two
  bool bias = false;
  bool operator==(const FfnShape&) const = default;
};

enum class RouterScore : std::uint8_t { kSoftmax, kSoftmaxOfTopk, kSigmoid, kSparsemixer };

struct MoeShape {
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  FfnShape expert;
  FfnShape shared;           // total width over all shared experts; width 0: none
  bool shared_gate = false;  // one sigmoid gate per token on the shared expert (Qwen2-MoE)
  RouterScore score = RouterScore::kSoftmax;
  bool router_bias = false;            // learned bias of the router's linear layer
  bool score_correction_bias = false;  // balance bias added before top-k (DeepSeek-V3)
  std::int64_t groups = 0;             // group-limited routing: groups and how many of them a token may use
  std::int64_t top_groups = 0;
  bool operator==(const MoeShape&) const = default;
};

// One decoder layer: attention, then a dense FFN or a MoE block.
struct LayerShape {
  AttentionShape attention;
  std::optional<FfnShape> dense;
  std::optional<MoeShape> moe;  // exactly one of the two is set
  // RMS/layer norms of width `hidden`: of the attention's input, the FFN's input, the attention's output, the FFN's output,
  // the first so many of them. Two on the outputs (OLMo 2) count and cost as two on the inputs; Gemma 2 has all four.
  int norms = 2;
  bool operator==(const LayerShape&) const = default;
};

struct ModelShape {
  std::string name;
  std::string model_type;  // Hugging Face's word, or "gpt_moe" for plain fields
  std::int64_t hidden = 0;
  std::int64_t vocab = 0;
  bool tied_embeddings = false;
  bool norm_bias = false;  // LayerNorm (weight and bias) instead of RMSNorm
  bool lm_head_bias = false;
  std::int64_t learned_positions = 0;  // rows of a learned position embedding; 0 with rotary
  std::int64_t max_positions = 0;      // a limit, not the training length; 0: unknown
  std::vector<LayerShape> kinds;       // the distinct layer kinds
  std::vector<std::int32_t> layers;    // index into kinds, one per layer
  int mtp_layers = 0;                  // multi-token-prediction modules; not part of the parameter totals

  [[nodiscard]] int layer_count() const { return static_cast<int>(layers.size()); }
  [[nodiscard]] const LayerShape& layer(LayerId id) const {
    return kinds[static_cast<std::size_t>(layers[id.index()])];
  }
  [[nodiscard]] int moe_layer_count() const;
  // How many MoE layers come before a layer: of a MoE layer, its number among them.
  [[nodiscard]] int moe_layers_before(LayerId id) const;
  // [layer]: its number among the MoE layers, -1 for a dense one. Layers dense, MoE, dense, MoE: {-1, 0, -1, 1}.
  [[nodiscard]] std::vector<int> moe_layer_numbers() const;
  // The first MoE layer, or nullptr for a dense model.
  [[nodiscard]] const MoeShape* first_moe() const;
};

// Bounds that keep every product below inside 64 bits; two to three orders above any model known.
struct ShapeLimits {
  static constexpr std::int64_t kNorms = 4;  // of a layer: LayerShape::norms
  static constexpr std::int64_t kLayers = 10'000;
  static constexpr std::int64_t kHidden = 1'000'000;
  static constexpr std::int64_t kWidth = 10'000'000;  // of an FFN
  static constexpr std::int64_t kExperts = 100'000;
  static constexpr std::int64_t kHeads = 100'000;
  static constexpr std::int64_t kHeadDim = 100'000;
  static constexpr std::int64_t kVocab = 100'000'000;
  static constexpr std::int64_t kPositions = 10'000'000'000;
  static constexpr std::int64_t kParameters = 10'000'000'000'000'000;
};

// Adds one layer at the end, as an existing kind where an equal one is there.
void append_layer(ModelShape& shape, const LayerShape& layer);

// Every invariant above; the error says which field of which layer is wrong.
[[nodiscard]] Status check(const ModelShape& shape);

// The first three count what published figures count: weight matrices, norms of width `hidden` and embeddings, without
// MTP modules. Mixtral-8x7B: 46 702 792 704 total, 12 879 925 248 active, 12 748 853 248 without the input embedding.
// `vectors` is the rest of a checkpoint: biases, query/key and latent norms, attention sinks, balance biases, the gate
// of a shared expert, short convolutions. DeepSeek-V3: 671 026 279 424 + 139 776 = 671 026 419 200 stored numbers.
struct ParameterCounts {
  std::int64_t total = 0;
  std::int64_t active = 0;                     // used by one token, the input embedding included
  std::int64_t active_no_input_embedding = 0;  // the convention of DeepSeek-V2 and gpt-oss reports
  std::int64_t vectors = 0;
  [[nodiscard]] std::int64_t stored() const { return total + vectors; }
};
[[nodiscard]] ParameterCounts count_parameters(const ModelShape& shape);

// Everything that one layer stores, by part, unsharded: attention + norms + dense_ffn + router + experts * one_expert +
// shared. The sum over the layers plus embeddings, head and final norm is ParameterCounts::stored().
struct LayerParameters {
  std::int64_t attention = 0;  // projections, their biases, per-head norms
  std::int64_t norms = 0;
  std::int64_t dense_ffn = 0;
  std::int64_t router = 0;      // with its biases
  std::int64_t one_expert = 0;  // of one routed expert
  std::int64_t shared = 0;      // all shared experts and their gate
};
[[nodiscard]] LayerParameters count_layer(const ModelShape& shape, LayerId layer);

}  // namespace moesim
