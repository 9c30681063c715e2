// What one command answers, before anybody formats it: named sections of metrics, notes, and what it was made from.
//
// In JSON (docs/json.md) every section is a key: a list of rows or one object. Tables for people show them one after the
// other; CSV, which has room for one table, shows the primary section.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/report/metric.hpp"

namespace moesim {

enum class SectionKind : std::uint8_t {
  kRows,    // a list
  kRecord,  // one object; shown as one line per value
};

enum class SectionShown : std::uint8_t {
  kEverywhere,
  kMachinesOnly,  // details that would drown a terminal
  kPeopleOnly,    // what machines find in another section
};

struct Section {
  std::string key;    // "plans"
  std::string title;  // above the table; empty: none
  SectionKind kind = SectionKind::kRows;
  MetricTable table;
  SectionShown shown = SectionShown::kEverywhere;
};

// Free text for people, such as a drawing of a cluster; not in JSON or CSV, which have the figures it is drawn from.
struct Drawing {
  std::vector<std::string> lines;
};

// What an answer was made from, so that it can be told from another one. Zoo models, presets and bundled traces are
// identified by the program's version and have neither size nor hash.
struct InputRecord {
  std::string role;    // "model", "cluster", "trace", "plan"
  std::string source;  // as given
  std::optional<std::int64_t> bytes;
  std::string sha256;  // empty: not a plain file, or too large to be read again for it
};

struct ToolVersion {
  std::string name;
  std::string version;
  std::string revision;  // empty: not built from a repository
};

struct Report {
  ToolVersion tool;
  std::vector<InputRecord> inputs;
  Drawing drawing;
  std::vector<Section> sections;  // the first is the primary one
  std::vector<std::string> notes;

  Section& add_rows(std::string key, std::string title, MetricTable table);
  Section& add_record(std::string key, std::string title, MetricTable table);
  [[nodiscard]] const Section* primary() const { return sections.empty() ? nullptr : &sections.front(); }
};

constexpr int kReportSchemaVersion = 1;

// Reads the file behind `source` for its record. Prefixed sources ("zoo:", "preset:", "bundled:"), "-" and folders have no
// hash, nor have files beyond 64 MiB.
[[nodiscard]] InputRecord input_record(std::string role, const std::string& source);

}  // namespace moesim
