// Grids: what a file may say, the order of its layers, and figures over a grid worked by hand.
#include <fmt/format.h>

#include <array>
#include <set>

#include "sim/layer/degree_pairs.hpp"
#include "sim/layer/figures.hpp"
#include "sim/layer/grid_summary.hpp"
#include "tests/unit/sim/layer/layer_testing.hpp"

namespace moesim {
namespace {

std::string grid_text(const std::string& replaced = "", const std::string& by = "") {
  std::string text = R"({"clusters": [{"cluster": "preset:rtx2080ti", "nodes": 2}], "precision": "fp32",
    "tp_esp": [[1, 2], [2, 2]], "batch": [1, 2], "seq": [512], "hidden": [512, 1024], "expert_width": [1024],
    "experts_per_ep_rank": [1], "top_k": [2], "capacity_factor": [1.2, 0], "gated": [false]})";
  if (!replaced.empty()) text.replace(text.find(replaced), replaced.size(), by);
  return text;
}

LayerGrid small_grid() { return parse_grid(grid_text(), "small").value(); }

TEST(LayerGrid, CountsAndOrdersItsLayers) {
  const LayerGrid grid = small_grid();
  EXPECT_EQ(grid.size(), 16U);
  std::set<std::string> seen;
  for (std::size_t i = 0; i < grid.size(); ++i) seen.insert(point_text(grid_point(grid, i)));
  EXPECT_EQ(seen.size(), 16U);
  EXPECT_EQ(point_text(grid_point(grid, 0)), "TP 1 ESP 2 B 1 L 512 M 512 H 1024 k 2 f 1.2");
  EXPECT_EQ(point_text(grid_point(grid, 1)), "TP 1 ESP 2 B 1 L 512 M 1024 H 1024 k 2 f 1.2");
  EXPECT_EQ(point_text(grid_point(grid, 2)), "TP 1 ESP 2 B 2 L 512 M 512 H 1024 k 2 f 1.2");
  EXPECT_EQ(point_text(grid_point(grid, 15)), "TP 2 ESP 2 B 2 L 512 M 1024 H 1024 k 2 f 0");
}

TEST(LayerGrid, WidthsMayBeMultiples) {
  const auto grid = parse_grid(grid_text("\"expert_width\": [1024]", "\"width_multiple\": [3]"), "multiples");
  ASSERT_TRUE(grid.has_value());
  EXPECT_EQ(grid_point(*grid, 1).expert_width, 3072);
}

TEST(LayerGrid, BuiltinsHaveThePublishedSizes) {
  EXPECT_EQ(load_grid("builtin:parm-1296")->size(), 1296U);
  EXPECT_EQ(load_grid("builtin:fsmoe-1458")->size() * 3, 1458U);  // three numbers of heads
  EXPECT_EQ(load_grid("builtin:schemoe")->size(), 675U);
  EXPECT_EQ(builtin_grid_names().size(), 3U);
  for (const std::string& name : builtin_grid_names()) EXPECT_TRUE(load_grid("builtin:" + name).has_value()) << name;
}

TEST(LayerGrid, RefusesWhatItCannotMean) {
  const auto refused = [](const std::string& replaced, const std::string& by, std::string_view because) {
    const auto grid = parse_grid(grid_text(replaced, by), "wrong");
    ASSERT_FALSE(grid.has_value()) << by;
    EXPECT_NE((grid.error().what + grid.error().where).find(because), std::string::npos)
        << grid.error().where << ": " << grid.error().what;
    EXPECT_EQ(grid.error().kind, ErrorKind::kInvalidInput);
  };
  refused("\"batch\": [1, 2]", "\"batch\": []", "empty");
  refused("\"batch\": [1, 2]", "\"batch\": [0]", "/batch/0");
  refused("\"batch\": [1, 2]", "\"bacth\": [1]", "batch");
  refused("[[1, 2], [2, 2]]", "[[1, 2, 3]]", "/tp_esp/0");
  refused("\"top_k\": [2]", "\"top_k\": [2], \"colour\": 1", "colour");
  refused("\"expert_width\": [1024]", "\"expert_width\": [1024], \"width_multiple\": [2]", "both");
  refused("\"expert_width\": [1024],", "", "neither");
  refused("\"precision\": \"fp32\"", "\"precision\": \"fp31\"", "/precision");
  refused("\"top_k\": [2]", "\"top_k\": [2], \"baseline\": \"deepspeed\"", "/baseline");
  refused("\"gated\": [false]", "\"gated\": [0]", "/gated/0");
  EXPECT_FALSE(parse_grid("[", "text").has_value());
  EXPECT_EQ(load_grid("builtin:parm").error().kind, ErrorKind::kUsage);
  EXPECT_FALSE(load_grid("/no/such/grid.json").has_value());
}

TEST(LayerGrid, RefusesMoreLayersThanAnyoneMeans) {
  std::string many = "[1";
  for (int i = 2; i <= 1100; ++i) many += fmt::format(", {}", i);
  many += "]";
  std::string text = grid_text("\"batch\": [1, 2]", "\"batch\": " + many);
  text.replace(text.find("\"seq\": [512]"), 12, "\"seq\": " + many);
  const auto grid = parse_grid(text, "many");
  ASSERT_FALSE(grid.has_value());
  EXPECT_NE(grid.error().what.find("layers"), std::string::npos);
}

TEST(PlayGrid, TheSameForAnyNumberOfThreadsAndAsOneByOne) {
  const Testbed bed = testbed(2);
  const std::vector<const CostModel*> clusters = {bed.costs.get()};
  const LayerGrid grid = small_grid();
  const auto one = play_grid(grid, clusters, moe_schedules(), {}, 1);
  const auto two = play_grid(grid, clusters, moe_schedules(), {}, 2);
  ASSERT_TRUE(one.has_value() && two.has_value());
  EXPECT_EQ(one->seconds, two->seconds);
  EXPECT_EQ(one->degrees, two->degrees);
  EXPECT_EQ(one->outcomes, two->outcomes);
  const auto summary = [&](const GridTimes& times) { return summarize_grid(grid, times, 0); };
  EXPECT_EQ(grid_figure(grid, *one, summary(*one), 0), grid_figure(grid, *two, summary(*two), 0));

  // The last layer by itself: TP 2, ESP 2, 2 sequences of 512, dropless.
  Plan plan = layer_plan(8, 2, 2);
  const auto layer = make_layer_case(
      one_layer_model(1024, {.experts = 4, .top_k = 2, .expert = {.width = 1024, .gated = false}, .shared = {}}), plan,
      {});
  ASSERT_TRUE(layer.has_value());
  for (std::size_t s = 0; s < one->schedules.size(); ++s) {
    if (!one->timed(15, s)) continue;
    auto best = plan_of_schedule(*layer, one->schedules[s]->name(), LayerBoundary::kWhole);
    ASSERT_TRUE(best.has_value());
    const std::size_t place = one->place(15, s);
    for (const int forward : one->schedules[s]->degrees(*best))
      for (const int backward : one->schedules[s]->degrees(*best)) {
        Plan tried = *best;
        tried.moe_degree = forward;
        tried.moe_backward_degree = backward;
        const auto time = time_layer(lower_layer(*layer, tried, {}).value(), *bed.costs);
        if (forward == one->degrees[place] && backward == one->backward_degrees[place]) {
          EXPECT_EQ(one->seconds[place], time->total()) << one->schedules[s]->name();
        }
        EXPECT_LE(one->seconds[place], time->total())
            << one->schedules[s]->name() << " in " << forward << " and " << backward;
        if (forward == backward) {
          EXPECT_LE(one->alike[place], time->total()) << one->schedules[s]->name() << " in " << forward;
        }
      }
  }
}

// The example of degree_pairs.hpp.
TEST(DegreePairs, WhatIsWorthPlaying) {
  const std::vector<AlikeTimes> alike = {{2, Seconds(4), Seconds(9)}, {4, Seconds(3), Seconds(11)}};
  const std::vector<DegreePair> pairs = promising_pairs(alike, Seconds(13));
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].forward, 4);
  EXPECT_EQ(pairs[0].backward, 2);
  EXPECT_EQ(pairs[0].least, Seconds(12));
  EXPECT_EQ(promising_pairs(alike, Seconds(16)).size(), 2U);
  EXPECT_TRUE(promising_pairs(alike, Seconds(12)).empty());
}

TEST(PlayGrid, NamesTheLayerThatDoesNotDivide) {
  const Testbed bed = testbed(2);
  const std::vector<const CostModel*> clusters = {bed.costs.get()};
  const auto odd = parse_grid(grid_text("[2, 2]]", "[2, 3]]"), "odd");
  ASSERT_TRUE(odd.has_value());
  const auto played = play_grid(*odd, clusters, moe_schedules(), {}, 1);
  ASSERT_FALSE(played.has_value());
  EXPECT_NE(played.error().what.find("ESP 3"), std::string::npos) << played.error().what;
  const auto narrow = parse_grid(grid_text("\"expert_width\": [1024]", "\"expert_width\": [1023]"), "narrow");
  ASSERT_TRUE(narrow.has_value());
  const auto cut = play_grid(*narrow, clusters, moe_schedules(), {}, 1);
  ASSERT_FALSE(cut.has_value());
  EXPECT_NE(cut.error().what.find("H 1023"), std::string::npos) << cut.error().what;
}

// Two layers in each of two cells and two schedules. Speed-ups of the second: 4/2 and 4/8; then one layer is dropped and in the
// last only the baseline fits.
TEST(GridSummary, ByHand) {
  LayerGrid grid = small_grid();
  grid.batch = {1, 2};
  grid.hidden = {512};
  grid.capacity_factor = {0};
  ASSERT_EQ(grid.size(), 4U);
  GridTimes times;
  times.schedules.assign(moe_schedules().begin(), moe_schedules().begin() + 2);
  const auto timed = GridOutcome::kTimed;
  const auto full = GridOutcome::kDoesNotFit;
  times.outcomes = {timed, timed, timed, timed, full, timed, timed, full};
  times.seconds = {Seconds(4), Seconds(2), Seconds(4), Seconds(8), Seconds(0), Seconds(1), Seconds(3), Seconds(0)};
  times.degrees = {1, 4, 1, 2, 1, 4, 1, 1};
  times.backward_degrees = {1, 4, 1, 2, 1, 2, 1, 1};
  times.alike = times.seconds;
  times.alike[5] = Seconds(1.25);  // against 1
  times.passes_apart = times.alike;
  times.passes_apart[1] = Seconds(1.6);  // against 2
  times.passes_apart[5] = Seconds(0.5);
  times.rule.assign(4, ParmChoice::kS1);
  const GridSummary summary = summarize_grid(grid, times, 0);
  ASSERT_EQ(summary.cells.size(), 2U);
  const SpeedUps& first = summary.cells[0].schedules[1];
  EXPECT_EQ(first.layers, 2);
  EXPECT_DOUBLE_EQ(first.least, 0.5);
  EXPECT_DOUBLE_EQ(first.mean, 1.25);
  EXPECT_DOUBLE_EQ(first.most, 2);
  EXPECT_EQ(first.wins, 1);
  EXPECT_EQ(summary.cells[0].schedules[0].wins, 1);
  EXPECT_EQ(summary.cells[1].dropped, 1);
  EXPECT_EQ(summary.cells[1].schedules[1].layers, 0);
  EXPECT_EQ(summary.cells[1].schedules[1].does_not_fit, 1);
  EXPECT_EQ(summary.all.layers, 4);
  EXPECT_EQ(summary.all.dropped, 1);
  EXPECT_EQ(cell_speedups(grid, times, 0, 0, 1), (std::vector<double>{2, 0.5}));
  EXPECT_FALSE(times.winner(2) == std::optional<std::size_t>(0));
  // The first schedule in one piece in its three layers; the second in four in two of them, backward in two in one of these, and in two
  // in one.
  ASSERT_EQ(summary.degrees.size(), 4U);
  const std::array<std::array<int, 4>, 4> counts = {{{0, 1, 1, 3}, {1, 2, 2, 1}, {1, 4, 2, 1}, {1, 4, 4, 1}}};
  for (std::size_t i = 0; i < counts.size(); ++i) {
    EXPECT_EQ(static_cast<int>(summary.degrees[i].schedule), counts[i][0]);
    EXPECT_EQ(summary.degrees[i].degree, counts[i][1]);
    EXPECT_EQ(summary.degrees[i].backward_degree, counts[i][2]);
    EXPECT_EQ(summary.degrees[i].layers, counts[i][3]);
  }
  // One of its layers wants two numbers, 1.25 / 1; two would at no cost: 2 / 1.6 and 1.25 / 0.5.
  EXPECT_EQ(summary.apart[0].differ.layers, 0);
  EXPECT_EQ(summary.apart[1].layers, 3);
  EXPECT_EQ(summary.apart[1].differ.layers, 1);
  EXPECT_DOUBLE_EQ(summary.apart[1].differ.mean_gain, 0.25);
  EXPECT_DOUBLE_EQ(summary.apart[1].differ.most_gain, 0.25);
  EXPECT_EQ(summary.apart[1].for_free.layers, 2);
  EXPECT_DOUBLE_EQ(summary.apart[1].for_free.mean_gain, 0.875);
  EXPECT_DOUBLE_EQ(summary.apart[1].for_free.most_gain, 1.5);
}

TEST(LayerFigures, TimelinesNameEverySchedule) {
  const Testbed bed = testbed(2);
  const auto outcomes = compare_schedules(layer_case(layer_plan(8, 2, 2)), *bed.costs, moe_schedules(), {});
  ASSERT_TRUE(outcomes.has_value());
  const std::string figure = timelines_figure("a < b & \"c\"", *outcomes);
  EXPECT_TRUE(figure.starts_with("<svg "));
  EXPECT_TRUE(figure.ends_with("</svg>\n"));
  EXPECT_NE(figure.find("a &lt; b &amp; &quot;c&quot;"), std::string::npos);
  for (const ScheduleOutcome& outcome : *outcomes)
    EXPECT_EQ(figure.find(outcome.schedule->name()) != std::string::npos, outcome.refused.empty());
  EXPECT_NE(figure.find("<title>moe.dispatch: "), std::string::npos);
  EXPECT_EQ(figure, timelines_figure("a < b & \"c\"", *outcomes));
}

// Every group of the grid's 32 ranks finds the paper's line, to the digit.
TEST(PublishedProfile, CoversTheGroupsOfTheGrids) {
  const Testbed bed = testbed(8);
  const double bytes = 8 << 20;
  const auto expect_line = [&](CollectiveKind kind, std::span<const RankId> ranks, double alpha, double per_byte) {
    if (ranks.size() < 2) return;
    const CommCost cost = bed.costs->collective(kind, bed.costs->topology(ranks), Bytes(8 << 20));
    EXPECT_NEAR(cost.time.value(), alpha + per_byte * bytes, 1e-12) << collective_name(kind) << " " << ranks.size();
    EXPECT_FALSE(cost.extrapolated);
  };
  const LayerGrid grid = load_grid("builtin:parm-1296").value();
  for (const auto& [tp, esp] : grid.tp_esp) {
    const LayerCase layer = layer_case(layer_plan(32, tp, esp));
    const Layout& layout = *layer.layout;
    expect_line(CollectiveKind::kAllToAll, layout.group(GroupKind::kEp, RankId(0)), 1.75e-4, 3.06e-10);
    expect_line(CollectiveKind::kAllToAll, layout.group(GroupKind::kEpEsp, RankId(0)), 1.75e-4, 3.06e-10);
    expect_line(CollectiveKind::kAllGather, layout.group(GroupKind::kTp, RankId(0)), 3.2e-5, 1.68e-10);
    expect_line(CollectiveKind::kAllReduce, layout.group(GroupKind::kEsp, RankId(0)), 7.11e-5, 3.35e-10);
  }
}

}  // namespace
}  // namespace moesim
