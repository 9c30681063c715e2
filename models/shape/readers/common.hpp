// Parts of a config.json that most families spell alike.
#pragma once

#include <cstdint>
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

// Number of experts and experts per token, under the spellings of all families (transformers 5 writes them mixed).
[[nodiscard]] std::int64_t read_experts(ConfigReader& config);
[[nodiscard]] std::int64_t read_top_k(ConfigReader& config);

// The attention kinds named by `layer_types`, one per layer; empty where the key is absent. Anything but a list of
// `layers` names out of `known` is a problem.
[[nodiscard]] std::vector<std::string> read_layer_types(ConfigReader& config, std::int64_t layers,
                                                        std::initializer_list<std::string_view> known);

// n_group and topk_group, for routers that pick groups first; one group is no limit.
void read_groups(ConfigReader& config, MoeShape& moe);

}  // namespace moesim
