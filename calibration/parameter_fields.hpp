// The parameters of the laws by name: one table serves profile files, fits and their documentation.
//
// Sections: "gemm", "attention", "memory", "launch", "collective", "overlap", and one per class of link
// ("nvlink", "xgmi", "pcie", "nic", "socket", "other"); "collectives" holds measured curves only. Every value is a plain number in SI units (shares,
// seconds, bytes).
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/cost/law_parameters.hpp"

namespace moesim {

struct ParameterField {
  std::string_view name;
  double smallest = 0;
  double largest = 1;
  double (*get)(const LawParameters& parameters, LinkClass link) = nullptr;
  void (*set)(LawParameters& parameters, LinkClass link, double value) = nullptr;
};

struct ParameterSection {
  std::string_view name;
  LinkClass link = LinkClass::kOther;  // of link sections
  std::span<const ParameterField> fields;
  Provenance& (*provenance)(LawParameters& parameters, LinkClass link) = nullptr;
};

[[nodiscard]] std::span<const ParameterSection> parameter_sections();
[[nodiscard]] const ParameterSection* find_section(std::string_view name);
[[nodiscard]] const ParameterField* find_field(const ParameterSection& section, std::string_view name);

}  // namespace moesim
