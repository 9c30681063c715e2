// Parts of a config.json that most families spell alike.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "models/shape/config_reader.hpp"
#include "models/shape/model_shape.hpp"

namespace moesim {

// hidden_size, vocab_size, tie_word_embeddings, max_position_embeddings.
[[nodiscard]] ModelShape read_trunk(ConfigReader& config);
[[nodiscard]] std::int64_t read_layer_count(ConfigReader& config);

// What a family's code does when the key is absent. Both rules are code of the architecture, not sizes of one model.
enum class KvHeads : std::uint8_t { kRequired, kAsManyAsHeads };
enum class HeadDim : std::uint8_t { kRequired, kHiddenOverHeads };

// num_attention_heads, num_key_value_heads, head_dim (which wins over hidden / heads), attention_bias for q, k, v and o.
[[nodiscard]] AttentionShape read_grouped_attention(ConfigReader& config, std::int64_t hidden, KvHeads kv_heads,
                                                    HeadDim head_dim);
// hidden / heads, or an error where it has a remainder.
[[nodiscard]] std::int64_t derived_head_dim(ConfigReader& config, std::int64_t hidden, std::int64_t heads);

// The routed experts of a MoE block: how many, how many of them a token takes, under the spellings of all families
// (transformers 5 writes them mixed), and their width under the family's own key.
[[nodiscard]] MoeShape read_routed_experts(ConfigReader& config, std::string_view width_key);

// A list that names the kind of each layer (`layer_types` for attention); empty where the key is absent. Anything but
// `layers` names out of `known` is a problem.
[[nodiscard]] std::vector<std::string> read_layer_names(ConfigReader& config, std::string_view key, std::int64_t layers,
                                                        std::initializer_list<std::string_view> known);

// The same layer throughout.
void append_alike(ModelShape& shape, const LayerShape& layer, std::int64_t layers);

// Layers laid out by a rule: `sparse[i]` picks the MoE block, else the dense FFN.
void append_layers(ModelShape& shape, LayerShape layer, const std::vector<bool>& sparse, const FfnShape& dense,
                   const MoeShape& moe);
[[nodiscard]] bool any_dense(const std::vector<bool>& sparse);

// Which layers are MoE, from `mlp_layer_types` ("dense" or "sparse" per layer, transformers 5) where it is present, else
// the layers from `first` on whose index is a multiple of `every` (moe_layer_freq).
[[nodiscard]] std::vector<bool> read_sparse_layers(ConfigReader& config, std::int64_t layers, std::int64_t first,
                                                   std::int64_t every);
// first_k_dense_replace, not needed where mlp_layer_types says it all.
[[nodiscard]] std::int64_t read_first_sparse_layer(ConfigReader& config);

// The rule of the Qwen line: MoE where (index + 1) is a multiple of decoder_sparse_step and the index is not in
// mlp_only_layers.
[[nodiscard]] std::vector<bool> read_sparse_steps(ConfigReader& config, std::int64_t layers);

// n_group and topk_group, for routers that pick groups first; one group is no limit.
void read_groups(ConfigReader& config, MoeShape& moe);

}  // namespace moesim
