// What is swept: a base plan and axes, whose product in a fixed order is the list of points (docs/sweep.md).
//
// The file: {"schema_version": 1, "base": PLAN or "PLAN.json", "axes": {"tp": [1, 2], "ep": "1:8:x2", ...}}. PLAN has the
// fields of a plan file (docs/plan.md), of which model, cluster, seq_length and global_batch may be left to an axis. dp,
// and edp always, follow from the other sizes and the cluster, unless dp is an axis. Text of an axis is as in axis.hpp.
//
// Points are numbered from 0 in the order of SweepField, the last field fastest: with tp 1,2 and micro_batch 1,2,4 point 4
// is tp 2, micro_batch 2.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "sim/sweep/field.hpp"
#include "traces/import.hpp"

namespace moesim {

constexpr std::int64_t kMostSweepPoints = 10'000'000;

struct SweepBase {
  PlanFile file;  // sizes that follow from others are not meant
  bool vpp_given = false;
  // Which of the fields without a default are there.
  bool seq_length_given = false;
  bool global_batch_given = false;
};

class SweepSpec {
 public:
  // Neither base nor axes; for a sweep that the command line alone describes.
  [[nodiscard]] static SweepSpec empty() { return {}; }
  [[nodiscard]] static Result<SweepSpec> read_file(const std::string& path);
  [[nodiscard]] static Result<SweepSpec> parse(std::string_view text, const std::string& name);

  [[nodiscard]] Status set_base_file(const std::string& path);
  // Replaces the axis of the same field.
  void set_axis(SweepAxis axis);
  // How every trace is read.
  void set_import(ImportOptions import) { import_ = std::move(import); }
  // To be called once all is set: whether every plan is complete and the points are not too many.
  [[nodiscard]] Status check() const;

  [[nodiscard]] const SweepBase& base() const { return base_; }
  [[nodiscard]] const std::vector<SweepAxis>& axes() const { return axes_; }  // in the order of SweepField
  [[nodiscard]] const SweepAxis* axis(SweepField field) const;
  [[nodiscard]] const ImportOptions& import() const { return import_; }
  // The values that a field takes: its axis, or the base's only one.
  [[nodiscard]] std::vector<std::string> words(SweepField field) const;
  [[nodiscard]] std::vector<int> node_counts() const;  // 0: as many as the cluster's file says

  [[nodiscard]] std::int64_t points() const;
  // What base and axes say about a point; derive_sizes adds what follows from the ranks of its cluster. A dp or edp that
  // would not be whole becomes 0, for the caller to report.
  [[nodiscard]] PlanFile point(std::int64_t index) const;
  void derive_sizes(PlanFile& file, int world) const;

  // The same text for the same sweep, however it was written down; its hash names a journal's sweep.
  [[nodiscard]] std::string canonical_text() const;

 private:
  [[nodiscard]] static Result<SweepSpec> read(JsonReader root);

  SweepBase base_;
  std::vector<SweepAxis> axes_;
  ImportOptions import_;
};

}  // namespace moesim
