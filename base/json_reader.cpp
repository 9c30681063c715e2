#include "base/json_reader.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/text.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kLargestDocument = 64ULL << 20;
constexpr std::size_t kDeepestNesting = 64;

// Builds the document while it checks what the library lets pass: nesting depth and duplicate keys.
class BoundedBuilder : public nlohmann::detail::json_sax_dom_parser<nlohmann::json> {
 public:
  using Base = nlohmann::detail::json_sax_dom_parser<nlohmann::json>;
  explicit BoundedBuilder(nlohmann::json& target) : Base(target, false) {}

  bool start_object(std::size_t elements) {
    keys_.emplace_back();
    return enter() && Base::start_object(elements);
  }
  bool end_object() {
    keys_.pop_back();
    --depth_;
    return Base::end_object();
  }
  bool start_array(std::size_t elements) { return enter() && Base::start_array(elements); }
  bool end_array() {
    --depth_;
    return Base::end_array();
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second) {
      problem_ = fmt::format("key '{}' appears twice in one object", name);
      return false;
    }
    return Base::key(name);
  }
  template <class Exception>
  bool parse_error(std::size_t position, const std::string& /*token*/, const Exception& exception) {
    position_ = position;
    problem_ = exception.what();
    return false;
  }

  [[nodiscard]] const std::string& problem() const { return problem_; }
  [[nodiscard]] std::size_t position() const { return position_; }

 private:
  bool enter() {
    if (++depth_ <= kDeepestNesting) return true;
    problem_ = fmt::format("nested more than {} levels deep", kDeepestNesting);
    return false;
  }

  std::size_t depth_ = 0;
  std::size_t position_ = 0;
  std::string problem_;
  std::vector<std::set<std::string>> keys_;
};

// nlohmann's text reads "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error ...".
std::string readable(const std::string& problem) {
  const auto detail = problem.find("syntax error");
  if (detail != std::string::npos) return problem.substr(detail);
  const auto tag_end = problem.find("] ");
  return problem.starts_with("[json.exception") && tag_end != std::string::npos ? problem.substr(tag_end + 2) : problem;
}

std::size_t line_of(std::string_view text, std::size_t position) {
  std::size_t line = 1;
  for (std::size_t i = 0; i < std::min(position, text.size()); ++i) line += text[i] == '\n' ? 1 : 0;
  return line;
}

std::string type_name(const nlohmann::json& value) {
  const std::string text = value.is_structured()
                               ? std::string()
                               : " " + value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return fmt::format("{}{}", value.type_name(), text.size() > 60 ? text.substr(0, 57) + "..." : text);
}

}  // namespace

JsonDocument::JsonDocument(std::unique_ptr<nlohmann::json> value, std::string name)
    : value_(std::move(value)), name_(std::move(name)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> JsonDocument::parse_file(const std::string& path) {
  MOESIM_ASSIGN(const std::string text, read_text_file(path, kLargestDocument));
  return parse_text(text, path);
}

Result<JsonDocument> JsonDocument::parse_text(std::string_view text, std::string name) {
  if (!is_utf8(text)) return invalid_input("not UTF-8 text", name, "save it as UTF-8");
  auto value = std::make_unique<nlohmann::json>();
  BoundedBuilder builder(*value);
  const bool complete = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  if (!complete) {
    const std::string place =
        builder.position() > 0 ? fmt::format("{}:{}", name, line_of(text, builder.position())) : name;
    if (trim(text).empty()) return invalid_input("file is empty, expected JSON", name);
    const bool truncated = builder.position() >= text.size() && builder.position() > 0;
    return invalid_input(fmt::format("not valid JSON: {}", readable(builder.problem())), place,
                         truncated ? "the text ends too early: is the file complete?" : "");
  }
  return JsonDocument(std::move(value), std::move(name));
}

JsonReader JsonDocument::root() const { return JsonReader(*value_, name_ + "#"); }

JsonReader::JsonReader(const nlohmann::json& value, std::string place) : value_(&value), place_(std::move(place)) {}

bool JsonReader::is_object() const { return value_->is_object(); }
bool JsonReader::is_array() const { return value_->is_array(); }
bool JsonReader::is_string() const { return value_->is_string(); }
bool JsonReader::is_number() const { return value_->is_number(); }

bool JsonReader::has(std::string_view key) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

std::vector<std::string> JsonReader::keys() const {
  std::vector<std::string> names;
  if (value_->is_object())
    for (const auto& item : value_->items()) names.push_back(item.key());
  return names;
}

Result<JsonReader> JsonReader::required(std::string_view key) {
  asked_.emplace(key);
  if (!value_->is_object()) return error(fmt::format("expected an object, found {}", type_name(*value_)));
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) {
    std::vector<std::string> unread;
    for (const std::string& name : keys())
      if (!asked_.contains(name)) unread.push_back(name);
    return error(fmt::format("required key '{}' is missing", key),
                 closest_spelling(key, unread).empty()
                     ? std::string()
                     : fmt::format("there is a key '{}': is that the one?", closest_spelling(key, unread)));
  }
  return JsonReader(*found, child_place(key));
}

std::optional<JsonReader> JsonReader::optional(std::string_view key) {
  asked_.emplace(key);
  if (!has(key)) return std::nullopt;
  return JsonReader(*value_->find(key), child_place(key));
}

Result<std::vector<JsonReader>> JsonReader::elements() const {
  if (!value_->is_array()) return error(fmt::format("expected a list, found {}", type_name(*value_)));
  std::vector<JsonReader> readers;
  readers.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) readers.emplace_back((*value_)[i], fmt::format("{}/{}", place_, i));
  return readers;
}

Result<std::int64_t> JsonReader::as_int(std::int64_t smallest, std::int64_t largest) const {
  if (!value_->is_number()) return error(fmt::format("expected a whole number, found {}", type_name(*value_)));
  const auto number = value_->get<double>();
  const bool exact = value_->is_number_integer();
  if (!exact && (std::floor(number) != number || std::abs(number) > 9e15))
    return error(fmt::format("expected a whole number, found {}", type_name(*value_)));
  if (number < static_cast<double>(smallest) || number > static_cast<double>(largest))
    return error(fmt::format("{} is outside the range {} to {}", type_name(*value_), smallest, largest));
  return exact ? value_->get<std::int64_t>() : static_cast<std::int64_t>(number);
}

Result<double> JsonReader::as_double(double smallest, double largest) const {
  if (!value_->is_number()) return error(fmt::format("expected a number, found {}", type_name(*value_)));
  const auto number = value_->get<double>();
  if (!(number >= smallest && number <= largest))
    return error(fmt::format("{} is outside the range {} to {}", number, smallest, largest));
  return number;
}

Result<bool> JsonReader::as_bool() const {
  if (!value_->is_boolean()) return error(fmt::format("expected true or false, found {}", type_name(*value_)));
  return value_->get<bool>();
}

Result<std::string> JsonReader::as_string() const {
  if (!value_->is_string()) return error(fmt::format("expected a string, found {}", type_name(*value_)));
  return value_->get<std::string>();
}

Result<std::int64_t> JsonReader::required_int(std::string_view key, std::int64_t smallest, std::int64_t largest) {
  MOESIM_ASSIGN(const JsonReader child, required(key));
  return child.as_int(smallest, largest);
}

Result<std::int64_t> JsonReader::int_or(std::string_view key, std::int64_t fallback, std::int64_t smallest,
                                        std::int64_t largest) {
  const auto child = optional(key);
  return child ? child->as_int(smallest, largest) : fallback;
}

Result<double> JsonReader::required_double(std::string_view key, double smallest, double largest) {
  MOESIM_ASSIGN(const JsonReader child, required(key));
  return child.as_double(smallest, largest);
}

Result<double> JsonReader::double_or(std::string_view key, double fallback, double smallest, double largest) {
  const auto child = optional(key);
  return child ? child->as_double(smallest, largest) : fallback;
}

Result<bool> JsonReader::bool_or(std::string_view key, bool fallback) {
  const auto child = optional(key);
  return child ? child->as_bool() : fallback;
}

Result<std::string> JsonReader::required_string(std::string_view key) {
  MOESIM_ASSIGN(const JsonReader child, required(key));
  return child.as_string();
}

Result<std::string> JsonReader::string_or(std::string_view key, std::string fallback) {
  const auto child = optional(key);
  return child ? child->as_string() : fallback;
}

Result<std::string> JsonReader::quantity_text(std::string_view key) {
  MOESIM_ASSIGN(const JsonReader child, required(key));
  // A bare number goes to the parser as text, so that its error shows the accepted spellings.
  if (child.is_number()) return child.value().dump();
  return child.as_string();
}

Status JsonReader::reject_unknown_keys() const {
  const std::vector<std::string> known(asked_.begin(), asked_.end());
  for (const std::string& name : keys())
    if (!asked_.contains(name))
      return error_at(name, fmt::format("unknown key '{}'{}", name, did_you_mean(name, known)));
  return {};
}

void JsonReader::ignore(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) asked_.emplace(key);
}

tl::unexpected<Error> JsonReader::error(std::string what, std::string hint) const {
  return invalid_input(std::move(what), place_, std::move(hint));
}

tl::unexpected<Error> JsonReader::error_at(std::string_view key, std::string what, std::string hint) const {
  return invalid_input(std::move(what), child_place(key), std::move(hint));
}

std::string JsonReader::child_place(std::string_view key) const {
  std::string escaped;
  for (const char c : key) escaped += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return fmt::format("{}/{}", place_, escaped);
}

}  // namespace moesim
