// Reading the keys of a model file so that one run tells everything that is wrong with it.
//
// A size that is absent is remembered and read on with a stand-in; finish() then names ALL absent ones at once:
//   config.json#: 'mixtral' needs num_hidden_layers, num_local_experts (or num_experts), which are missing
// A key of the wrong type or outside its range is an error at its own place and comes first. Keys may be dotted
// (ffn_config.moe_top_k). Where several spellings of one thing are present, they must agree.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/json_reader.hpp"

namespace moesim {

class ConfigReader {
 public:
  // Spellings of one thing, in the order of preference. Views of literals.
  using Keys = std::initializer_list<std::string_view>;

  // `subject` names the model type in errors.
  ConfigReader(JsonReader object, std::string subject);

  // 1 to `largest`; required.
  [[nodiscard]] std::int64_t size(Keys keys, std::int64_t largest);
  // 0 to `largest`; `fallback` where no spelling is present or all are null.
  [[nodiscard]] std::int64_t size_or(Keys keys, std::int64_t fallback, std::int64_t largest);
  // 0 to `largest`; null means 0 but the key itself must stand there (q_lora_rank).
  [[nodiscard]] std::int64_t size_or_null(Keys keys, std::int64_t largest);
  [[nodiscard]] bool flag_or(Keys keys, bool fallback);
  [[nodiscard]] std::string text_or(std::string_view key, std::string fallback);
  // Empty where absent or null.
  [[nodiscard]] std::vector<std::int64_t> sizes(std::string_view key, std::int64_t largest);
  [[nodiscard]] std::vector<std::string> texts(std::string_view key);

  [[nodiscard]] bool has(std::string_view key) const;  // present and not null
  [[nodiscard]] bool is_list(std::string_view key) const;
  [[nodiscard]] bool present(std::string_view key) const;  // null counts

  void missing(std::string what);
  void problem(std::string_view key, std::string what, std::string hint = {});
  void note(std::string text) { notes_.push_back(std::move(text)); }

  // The error collected so far, if any. Call before using what was read.
  [[nodiscard]] Status finish() const;
  // An error for the first key that is not in `known` and does not start with '_'; for formats that are ours and
  // therefore closed.
  [[nodiscard]] Status reject_unknown_keys(std::span<const std::string_view> known) const;
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  [[nodiscard]] const JsonReader& object() const { return object_; }
  // Which key filled which reading, in the order of reading: "num_experts".
  [[nodiscard]] const std::vector<std::string>& used() const { return used_; }

 private:
  [[nodiscard]] std::optional<JsonReader> find(std::string_view key) const;
  [[nodiscard]] std::optional<std::int64_t> agreed(Keys keys, std::int64_t smallest, std::int64_t largest);
  [[nodiscard]] std::vector<JsonReader> elements(std::string_view key);
  void keep_first(Error error);

  JsonReader object_;
  std::string subject_;
  std::vector<std::string> notes_;
  std::vector<std::string> missing_;
  std::vector<std::string> used_;
  std::vector<std::string> asked_;
  std::optional<Error> problem_;
};

}  // namespace moesim
