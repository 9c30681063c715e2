#include "calibration/profile_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/text.hpp"
#include "calibration/curve_fit.hpp"
#include "calibration/fit.hpp"
#include "calibration/parameter_fields.hpp"
#include "calibration/rounded.hpp"
#include "models/cost/law_parameters.hpp"

namespace moesim {
namespace {

constexpr int kProfileDigits = 4;  // of parameters and residuals

// Where one observation comes from, with its question.
struct Row {
  const Observation* observation = nullptr;
  const Observations* file = nullptr;
  Measurement question;
};

using Names = std::vector<std::pair<std::string_view, std::string_view>>;

struct Recipe {
  std::vector<std::string_view> sections;  // that carry the provenance, the first one's rows
  std::set<std::string, std::less<>> laws;
  Names free;
};

const std::set<std::string, std::less<>>& collective_laws() {
  static const std::set<std::string, std::less<>> laws = {"all_reduce", "all_gather", "reduce_scatter",
                                                          "all_to_all", "broadcast",  "send_recv"};
  return laws;
}

// And those by other algorithms of exchange, which have curves but tell nothing of the links' parameters.
const std::set<std::string, std::less<>>& measured_by_size() {
  static const std::set<std::string, std::less<>> laws = [] {
    std::set<std::string, std::less<>> all = collective_laws();
    for (const ExchangeAlgorithm algorithm : exchange_algorithms().subspan(1))
      all.insert(fmt::format("all_to_all_{}", exchange_algorithm_name(algorithm)));
    return all;
  }();
  return laws;
}

std::string_view section_of(LinkClass link) {
  for (const ParameterSection& section : parameter_sections())
    if (section.link == link && section.fields.data() == find_section("nvlink")->fields.data()) return section.name;
  return find_section("nic")->name;  // links above a NIC take the NIC's parameters
}

// The parameters that the observed operations tell something about.
std::vector<Recipe> recipes_for(const ClusterView& view, const std::vector<Row>& rows) {
  std::set<std::string, std::less<>> seen;
  bool wide = false;  // 16 bits
  bool fp32 = false;
  for (const Row& row : rows) {
    seen.insert(row.question.law);
    if (const auto* gemm = std::get_if<GemmWork>(&row.observation->work))
      (gemm->type == DType::kFp32 ? fp32 : wide) = true;
  }
  std::vector<Recipe> recipes;
  Recipe gemm{{"gemm"},
              {"gemm", "grouped_gemm"},
              {{"gemm", "ramp_bytes"},
               {"gemm", "load_bytes_per_clock"},
               {"gemm", "memory_efficiency"},
               {"gemm", "overhead_s"},
               {"gemm", "epilogue_exposed"}}};
  if (wide) gemm.free.emplace(gemm.free.begin(), "gemm", "math_efficiency");
  if (fp32) gemm.free.emplace(gemm.free.begin(), "gemm", "math_efficiency_fp32");
  recipes.push_back(gemm);
  Recipe attention{{"attention"}, {"attention_forward", "attention_backward"}, {{"attention", "overhead_s"}}};
  if (seen.contains("attention_forward"))
    attention.free.insert(attention.free.end(), {{"attention", "forward_efficiency"}, {"attention", "forward_tail"}});
  if (seen.contains("attention_backward"))
    attention.free.insert(attention.free.end(), {{"attention", "backward_efficiency"}, {"attention", "backward_tail"}});
  recipes.push_back(attention);
  Recipe memory{{"memory"}, {}, {{"memory", "efficiency"}, {"memory", "overhead_s"}, {"memory", "row_ramp_bytes"}}};
  for (int kernel = 0; kernel < kMemoryKernels; ++kernel)
    memory.laws.emplace(memory_kernel_name(static_cast<MemoryKernel>(kernel)));
  recipes.push_back(memory);
  Recipe launch{{"launch"}, {"launch", "operation"}, {}};
  if (seen.contains("launch")) launch.free.emplace_back("launch", "issue_interval_s");
  if (seen.contains("operation")) launch.free.emplace_back("launch", "operation_s");
  recipes.push_back(launch);
  Recipe links{{"collective"}, collective_laws(), {{"collective", "base_s"}}};
  for (const Tier& tier : view.tiers()) {
    const std::string_view name = section_of(tier.link);
    if (std::ranges::find(links.sections, name) != links.sections.end()) continue;
    links.sections.push_back(name);
    const auto free = [&](std::initializer_list<std::string_view> laws,
                          std::initializer_list<std::string_view> fields) {
      if (std::ranges::none_of(laws, [&](std::string_view law) { return seen.contains(law); })) return;
      for (const std::string_view field : fields) links.free.emplace_back(name, field);
    };
    free({"all_reduce", "all_gather", "reduce_scatter"}, {"ring_efficiency", "ring_step_s"});
    free({"all_reduce", "broadcast"}, {"tree_efficiency", "tree_step_s"});
    free({"all_to_all"}, {"all_to_all_efficiency", "peer_step_s"});
    free({"broadcast", "send_recv"}, {"one_way_efficiency"});
    for (const std::string_view field : {"pipeline_step_s", "quick_share", "long_step_s"})
      links.free.emplace_back(name, field);
  }
  recipes.push_back(links);
  return recipes;
}

ProfileSection& section_named(Profile& profile, std::string_view name) {
  for (ProfileSection& section : profile.sections)
    if (section.name == name) return section;
  return profile.sections.emplace_back(
      ProfileSection{.name = std::string(name), .parameters = {}, .measured = {}, .provenance = {}, .date = {}});
}

// "2 B .. 4.00 MiB", "m 1 .. 1024, ..."; what the observations span.
std::string range_of(const std::vector<const Row*>& rows) {
  std::int64_t smallest = 0, largest = 0, bytes_rows = 0;
  std::array<std::int64_t, 3> low{}, high{};
  std::int64_t gemm_rows = 0;
  for (const Row* row : rows) {
    if (const auto* gemm = std::get_if<GemmWork>(&row->observation->work)) {
      const std::array<std::int64_t, 3> shape = {gemm->m, gemm->n, gemm->k};
      for (std::size_t i = 0; i < 3; ++i) {
        low[i] = gemm_rows == 0 ? shape[i] : std::min(low[i], shape[i]);
        high[i] = std::max(high[i], shape[i]);
      }
      ++gemm_rows;
      continue;
    }
    std::int64_t bytes = 0;
    if (const auto* memory = std::get_if<MemoryWork>(&row->observation->work))
      bytes = (memory->read + memory->written).count();
    else if (const auto* collective = std::get_if<CollectiveWork>(&row->observation->work))
      bytes = collective->size.count();
    else
      continue;
    smallest = bytes_rows == 0 ? bytes : std::min(smallest, bytes);
    largest = std::max(largest, bytes);
    ++bytes_rows;
  }
  if (gemm_rows > 0)
    return fmt::format("m {} .. {}, n {} .. {}, k {} .. {}", low[0], high[0], low[1], high[1], low[2], high[2]);
  return bytes_rows > 0 ? fmt::format("{} .. {}", humanize(Bytes(smallest)), humanize(Bytes(largest))) : "";
}

void set_provenance(ProfileSection& section, const std::vector<const Row*>& rows) {
  std::set<std::string> sources;
  for (const Row* row : rows) {
    sources.insert(row->file->source);
    section.date = std::max(section.date, row->file->date);
  }
  section.provenance = {.origin = Origin::kFitted,
                        .source = fmt::format("{}", fmt::join(sources, "; ")),
                        .residual = -1,
                        .range = range_of(rows)};
  section.points = static_cast<int>(rows.size());
}

std::vector<Measurement> questions_of(const std::vector<const Row*>& rows) {
  std::vector<Measurement> questions;
  for (const Row* row : rows) questions.push_back(row->question);
  return questions;
}

std::vector<const Row*> rows_of(const std::vector<Row>& all, const std::set<std::string, std::less<>>& laws) {
  std::vector<const Row*> rows;
  for (const Row& row : all)
    if (row.question.skipped.empty() && laws.contains(row.question.law)) rows.push_back(&row);
  return rows;
}

void fit_parameters(const std::vector<Row>& all, const ClusterView& view, Profile& profile) {
  LawParameters parameters = default_law_parameters(view.devices().front());
  for (const Recipe& recipe : recipes_for(view, all)) {
    const std::vector<const Row*> rows = rows_of(all, recipe.laws);
    if (rows.empty()) continue;
    parameters = best_parameters(parameters, free_parameters(recipe.free), questions_of(rows));
    for (const std::string_view name : recipe.sections) {
      ProfileSection& section = section_named(profile, name);
      const ParameterSection* known = find_section(name);
      for (const auto& [of, field] : recipe.free)
        if (of == name)
          section.parameters.emplace_back(
              field, rounded(find_field(*known, field)->get(parameters, known->link), kProfileDigits));
      set_provenance(section, rows);
    }
  }
}

void add_curves(const std::vector<Row>& all, Profile& profile) {
  CurvePoints points;
  for (const Row& row : all) points.add(*row.observation, row.question.group);
  MeasuredLaws measured = points.fit();
  if (!measured.gemm.empty()) section_named(profile, "gemm").measured.gemm = std::move(measured.gemm);
  if (!measured.attention.empty())
    section_named(profile, "attention").measured.attention = std::move(measured.attention);
  if (!measured.memory.empty()) section_named(profile, "memory").measured.memory = std::move(measured.memory);
  if (measured.collectives.empty()) return;
  ProfileSection& section = section_named(profile, "collectives");
  section.measured.collectives = std::move(measured.collectives);
  set_provenance(section, rows_of(all, measured_by_size()));
}

// How much longer computation takes for each second that a collective takes alone: nothing where other hardware does the work, all of
// it where the core that computes moves the messages too. As the laws' units held: compute beside communication runs at 1 - held.
// Worked: 100 GEMMs of 70 us and 20 all-reduces of 165 us take 9.6 ms together: (9.6 - 7.0) / 3.3 = 0.79.
void fit_overlap(const std::vector<Row>& all, Profile& profile, std::vector<std::string>& notes) {
  constexpr double kMostHeld = 0.99;
  std::vector<double> gemm;                                       // alone
  std::map<std::pair<CollectiveKind, Bytes>, double> collective;  // alone
  std::vector<std::pair<const OverlapWork*, double>> beside;
  std::vector<const Row*> rows;
  for (const Row& row : all) {
    const auto* work = std::get_if<OverlapWork>(&row.observation->work);
    if (work == nullptr) continue;
    const double seconds = row.observation->seconds;
    if (work->measured == OverlapMeasured::kCommunication) {
      if (!work->compute && work->collectives.size() == 1)
        collective[{work->collectives[0].kind, work->collectives[0].size}] = seconds;
      continue;
    }
    if (!work->compute) continue;
    rows.push_back(&row);
    if (work->collectives.empty()) {
      gemm.push_back(seconds / work->compute_repeats);
    } else if (work->collectives.size() == 1) {
      beside.emplace_back(work, seconds);
    }
  }
  if (gemm.empty()) return;
  std::vector<double> held;
  for (const auto& [work, seconds] : beside) {
    const auto alone = collective.find({work->collectives[0].kind, work->collectives[0].size});
    if (alone == collective.end()) continue;
    const double computation = quantile(gemm, 0.5) * work->compute_repeats;
    held.push_back((seconds - computation) / (alone->second * work->collective_rounds));
  }
  if (held.empty()) return;
  const double units = std::clamp(quantile(held, 0.5), 0.0, kMostHeld);
  ProfileSection& section = section_named(profile, "overlap");
  section.parameters.emplace_back("units_held", rounded(units, kProfileDigits));
  set_provenance(section, rows);
  notes.push_back(
      fmt::format("a second of communication holds computation beside it up for {:.2f} s of its own", units));
}

Profile build(const std::vector<Row>& rows, const ClusterView& view, std::vector<std::string>& notes) {
  Profile profile{.device = view.devices().front().name, .fabric = {}, .sections = {}};
  fit_parameters(rows, view, profile);
  add_curves(rows, profile);
  fit_overlap(rows, profile, notes);
  return profile;
}

// predicted / measured - 1, by kind.
std::map<std::string, std::vector<double>> errors_of(const Profile& profile, const ClusterView& view,
                                                     const std::vector<Row>& rows) {
  const CostModel model = make_cost_model(view, std::span(&profile, 1));
  std::map<std::string, std::vector<double>> errors;
  for (const Row& row : rows)
    if (row.question.skipped.empty())
      errors[row.question.law].push_back(row.question.predict(model) / row.question.measured - 1);
  return errors;
}

std::vector<double> sizes_of(const std::vector<double>& errors) {
  std::vector<double> sizes;
  for (const double error : errors) sizes.push_back(std::abs(error));
  return sizes;
}

std::vector<KindErrors> judge(const std::vector<Row>& rows, const ClusterView& view, const Profile& profile) {
  // Alternately by kind, so that each half has every kind, and sizes between those that the other has.
  std::map<std::string, int> seen;
  std::vector<Row> half;
  std::vector<Row> other_half;
  for (const Row& row : rows) (seen[row.question.law]++ % 2 == 0 ? half : other_half).push_back(row);
  std::vector<std::string> unused;
  const std::map<std::string, std::vector<double>> held_out = errors_of(build(half, view, unused), view, other_half);

  std::vector<KindErrors> all;
  for (const auto& [kind, errors] : errors_of(profile, view, rows)) {
    KindErrors& one = all.emplace_back();
    one.kind = kind;
    one.points = static_cast<int>(errors.size());
    one.median = quantile(sizes_of(errors), 0.5);
    one.p90 = quantile(sizes_of(errors), 0.9);
    one.bias = quantile(errors, 0.5);
    const auto found = held_out.find(kind);
    if (found == held_out.end()) continue;
    one.held_out_points = static_cast<int>(found->second.size());
    one.held_out_median = quantile(sizes_of(found->second), 0.5);
    one.held_out_p90 = quantile(sizes_of(found->second), 0.9);
  }
  return all;
}

// Each section's residual is that of its kinds over observations it was not made from, where there are any: a curve through its
// own points would praise itself.
void set_residuals(Profile& profile, const std::vector<Row>& rows, const ClusterView& view,
                   const std::vector<KindErrors>& errors) {
  const auto worst = [&](const std::set<std::string, std::less<>>& laws, ProfileSection& section) {
    double median = 0, p90 = 0;
    int points = 0;
    for (const KindErrors& one : errors) {
      if (!laws.contains(one.kind)) continue;
      const bool held_out = one.held_out_points > 0;
      median += one.points * (held_out ? one.held_out_median : one.median);
      p90 += one.points * (held_out ? one.held_out_p90 : one.p90);
      points += one.points;
    }
    if (points == 0) return;
    section.provenance.residual = rounded(median / points, kProfileDigits);
    section.residual_p90 = rounded(p90 / points, kProfileDigits);
  };
  for (const Recipe& recipe : recipes_for(view, rows))
    for (const std::string_view name : recipe.sections)
      for (ProfileSection& section : profile.sections)
        if (section.name == name) worst(recipe.laws, section);
  for (ProfileSection& section : profile.sections) {
    if (section.name == "collectives") worst(measured_by_size(), section);
    if (section.name == "overlap") worst({"overlap"}, section);
  }
}

}  // namespace

Result<CalibratedProfile> calibrate(const std::vector<Observations>& files, std::shared_ptr<const ClusterView> view) {
  std::vector<Row> rows;
  CalibratedProfile result;
  for (const Observations& file : files) {
    MOESIM_ASSIGN(std::vector<Measurement> questions, measurements_of(file, view));
    for (std::size_t i = 0; i < questions.size(); ++i) rows.push_back({&file.rows[i], &file, std::move(questions[i])});
    for (const auto& [reason, count] : file.left_out)
      result.notes.push_back(fmt::format("{}: {} rows {} were left out", file.source, count, reason));
  }
  if (rows.empty()) return invalid_input("nothing was measured", {}, "measure with moeexec bench");
  result.profile = build(rows, *view, result.notes);
  result.errors = judge(rows, *view, result.profile);
  set_residuals(result.profile, rows, *view, result.errors);
  return result;
}

}  // namespace moesim
