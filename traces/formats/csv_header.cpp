#include "traces/formats/csv_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.hpp"

namespace moesim {
namespace {

struct LabelSpelling {
  std::string_view name;
  CsvLabel label;
};
constexpr std::array<LabelSpelling, 12> kLabelSpellings = {{{"iter", CsvLabel::kIteration},
                                                            {"iteration", CsvLabel::kIteration},
                                                            {"step", CsvLabel::kIteration},
                                                            {"layer", CsvLabel::kLayer},
                                                            {"layer_id", CsvLabel::kLayer},
                                                            {"micro_batch", CsvLabel::kMicroBatch},
                                                            {"mb", CsvLabel::kMicroBatch},
                                                            {"src_rank", CsvLabel::kSourceRank},
                                                            {"source_rank", CsvLabel::kSourceRank},
                                                            {"rank", CsvLabel::kSourceRank},
                                                            {"token", CsvLabel::kToken},
                                                            {"task", CsvLabel::kTask}}};

std::optional<CsvLabel> label_of(std::string_view name) {
  const auto* const found = std::find_if(kLabelSpellings.begin(), kLabelSpellings.end(),
                                         [&](const LabelSpelling& s) { return s.name == name; });
  return found == kLabelSpellings.end() ? std::nullopt : std::optional(found->label);
}

}  // namespace

bool CsvHeader::has(CsvLabel label) const { return std::find(labels.begin(), labels.end(), label) != labels.end(); }

bool csv_has_numbered(std::string_view line, std::string_view prefix) {
  const std::vector<std::string_view> names = split(line, ',');
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view name) { return trim(name) == fmt::format("{}0", prefix); });
}

Result<CsvHeader> parse_csv_header(std::string_view line, std::string_view prefix, const std::string& place) {
  CsvHeader header;
  for (const std::string_view cell : split(line, ',')) {
    const std::string_view name = trim(cell);
    if (name == fmt::format("{}{}", prefix, header.numbered)) {
      ++header.numbered;
      continue;
    }
    const std::optional<CsvLabel> label = label_of(name);
    if (!label || header.numbered > 0) {
      std::vector<std::string> known{fmt::format("{}{}", prefix, header.numbered)};
      if (header.numbered == 0)
        for (const LabelSpelling& s : kLabelSpellings) known.emplace_back(s.name);
      return invalid_input(fmt::format("unexpected column '{}'{}", name.substr(0, 60), did_you_mean(name, known)),
                           place,
                           fmt::format("columns are iter,layer,micro_batch,src_rank and then {0}0,{0}1,...", prefix));
    }
    if (header.has(*label)) return invalid_input(fmt::format("column '{}' appears twice", name), place);
    header.labels.push_back(*label);
  }
  if (!header.has(CsvLabel::kLayer))
    return invalid_input("there is no column 'layer'", place,
                         fmt::format("columns are iter,layer,micro_batch,src_rank and then {0}0,{0}1,...", prefix));
  return header;
}

}  // namespace moesim
