// Reading JSON input with errors that name the place, and with no key left unread.
//
//   MOESIM_ASSIGN(JsonDocument document, JsonDocument::parse_file("cluster.json"));
//   JsonReader root = document.root();
//   MOESIM_ASSIGN(auto nodes, root.required_int("nodes", 1, 1'000'000));
//   MOESIM_ASSIGN(auto rate, root.required_quantity("bandwidth", parse_bytes_per_second));
//   MOESIM_TRY(root.reject_unknown_keys());          // "did you mean" for typing errors
//
// Errors look like  cluster.json#/links/0/bandwidth: '900': has no unit.
// Input is bounded: 64 MiB of text and 64 levels of nesting; duplicate keys are errors.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"

namespace moesim {

class JsonReader;

class JsonDocument {
 public:
  [[nodiscard]] static Result<JsonDocument> parse_file(const std::string& path);
  [[nodiscard]] static Result<JsonDocument> parse_text(std::string_view text, std::string name);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();

  // The document must outlive the readers it hands out.
  [[nodiscard]] JsonReader root() const;

 private:
  JsonDocument(std::unique_ptr<nlohmann::json> value, std::string name);
  std::unique_ptr<nlohmann::json> value_;
  std::string name_;
};

// A view of one JSON value together with its place. Cheap to copy, except that copies forget which keys were read.
class JsonReader {
 public:
  JsonReader(const nlohmann::json& value, std::string place);

  [[nodiscard]] const nlohmann::json& value() const { return *value_; }
  [[nodiscard]] const std::string& place() const { return place_; }
  [[nodiscard]] bool is_object() const;
  [[nodiscard]] bool is_array() const;
  [[nodiscard]] bool is_string() const;
  [[nodiscard]] bool is_number() const;
  [[nodiscard]] bool has(std::string_view key) const;  // present and not null
  [[nodiscard]] std::vector<std::string> keys() const;

  [[nodiscard]] Result<JsonReader> required(std::string_view key);
  [[nodiscard]] std::optional<JsonReader> optional(std::string_view key);  // absent and null are both nullopt
  [[nodiscard]] Result<std::vector<JsonReader>> elements() const;          // of an array

  [[nodiscard]] Result<std::int64_t> as_int(std::int64_t smallest, std::int64_t largest) const;
  [[nodiscard]] Result<double> as_double(double smallest, double largest) const;
  [[nodiscard]] Result<bool> as_bool() const;
  [[nodiscard]] Result<std::string> as_string() const;

  // The same by key; the *_or forms give `fallback` when the key is absent or null.
  [[nodiscard]] Result<std::int64_t> required_int(std::string_view key, std::int64_t smallest, std::int64_t largest);
  [[nodiscard]] Result<std::int64_t> int_or(std::string_view key, std::int64_t fallback, std::int64_t smallest,
                                            std::int64_t largest);
  [[nodiscard]] Result<double> required_double(std::string_view key, double smallest, double largest);
  [[nodiscard]] Result<double> double_or(std::string_view key, double fallback, double smallest, double largest);
  [[nodiscard]] Result<bool> bool_or(std::string_view key, bool fallback);
  [[nodiscard]] Result<std::string> required_string(std::string_view key);
  [[nodiscard]] Result<std::string> string_or(std::string_view key, std::string fallback);

  // A string with a unit, read by one of base/unit_parser.hpp's functions.
  template <class Quantity>
  [[nodiscard]] Result<Quantity> required_quantity(std::string_view key, Result<Quantity> (*parser)(std::string_view));
  template <class Quantity>
  [[nodiscard]] Result<Quantity> quantity_or(std::string_view key, Quantity fallback,
                                             Result<Quantity> (*parser)(std::string_view));

  // An error that lists the first key nobody asked for, with the closest known spelling.
  [[nodiscard]] Status reject_unknown_keys() const;
  // Declares keys as known without reading them.
  void ignore(std::initializer_list<std::string_view> keys);

  // An invalid-input error at this place, or at `key` below it.
  [[nodiscard]] tl::unexpected<Error> error(std::string what, std::string hint = {}) const;
  [[nodiscard]] tl::unexpected<Error> error_at(std::string_view key, std::string what, std::string hint = {}) const;

 private:
  [[nodiscard]] std::string child_place(std::string_view key) const;
  [[nodiscard]] Result<std::string> quantity_text(std::string_view key);

  const nlohmann::json* value_;
  std::string place_;  // file#/pointer
  std::set<std::string, std::less<>> asked_;
};

template <class Quantity>
Result<Quantity> JsonReader::required_quantity(std::string_view key, Result<Quantity> (*parser)(std::string_view)) {
  MOESIM_ASSIGN(const std::string text, quantity_text(key));
  Result<Quantity> quantity = parser(text);
  if (!quantity) return error_at(key, quantity.error().what, quantity.error().hint);
  return quantity;
}

template <class Quantity>
Result<Quantity> JsonReader::quantity_or(std::string_view key, Quantity fallback,
                                         Result<Quantity> (*parser)(std::string_view)) {
  if (!optional(key)) return fallback;
  return required_quantity(key, parser);
}

}  // namespace moesim
