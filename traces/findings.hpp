// What an importer noticed about its input: counted, with a severity and an explanation a person can act on.
//
// A finding is not an Error: the trace was read. An error-level finding says that figures made from it would mislead;
// programs that print findings exit with ErrorKind::kInvalidInput when there is one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moesim {

enum class Severity : std::uint8_t {
  kInfo,      // how the input was understood
  kNotice,    // unusual; look at it
  kDataLoss,  // part of the input could not be used
  kError,     // results would be wrong
};
[[nodiscard]] std::string_view name_of(Severity severity);  // "info", "notice", "data_loss", "error"

struct Finding {
  Severity severity = Severity::kInfo;
  std::string code;  // stable, for machines: "row-sum-low"
  std::uint64_t count = 0;
  std::string explanation;
  std::string first_place;  // file:line of the first occurrence, may be empty
};

class Findings {
 public:
  // Counts one occurrence (or `count` of them) of `code`; the explanation and place of the first one are kept.
  void add(Severity severity, std::string_view code, std::string explanation, std::string place = {},
           std::uint64_t count = 1);

  // For hot loops: `make` (returning {explanation, place}) is called on the first occurrence only.
  template <class Make>
  void count(Severity severity, std::string_view code, Make make) {
    if (Finding* known = find(code)) {
      ++known->count;
      return;
    }
    auto [explanation, place] = make();
    add(severity, code, std::move(explanation), std::move(place));
  }

  [[nodiscard]] const std::vector<Finding>& list() const { return list_; }  // in order of first occurrence
  [[nodiscard]] Severity worst() const;                                     // kInfo when there is none
  [[nodiscard]] bool has(std::string_view code) const;

 private:
  [[nodiscard]] Finding* find(std::string_view code);
  std::vector<Finding> list_;
};

}  // namespace moesim
