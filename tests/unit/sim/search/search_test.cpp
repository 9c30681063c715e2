#include "sim/search/search.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "base/text.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"

namespace moesim {
namespace {

void show(const char* model_name, const char* cluster, int nodes, int gbs) {
  const auto model = load_model(model_name);
  const auto view = compile(*load_cluster(cluster, nodes));
  const CostModel costs(*view);
  const SearchSpace space = default_space(model->shape, *view, 4096, gbs);
  SearchOptions options;
  options.threads = 2;
  options.progress = [](std::int64_t d, std::int64_t t, std::string_view st) { fmt::print(stderr, "{} {} {} {:.2f}\n", st, d, t, double(std::clock()) / CLOCKS_PER_SEC); };
  const auto t0 = std::chrono::steady_clock::now();
  const auto result = rank_plans(model->shape, costs, nullptr, space, options);
  const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
  if (!result) { fmt::print("{} | {}\n", result.error().what, result.error().hint); return; }
  fmt::print("{} considered {} bounded {} replayed {} proven {} in {:.2f} s\n", model_name, result->certificate.considered, result->certificate.bounded, result->certificate.replayed, result->certificate.proven, s);
  for (int i = 0; i < (int)Pruned::kCount; ++i) fmt::print("   {} {}\n", pruned_name((Pruned)i), result->certificate.pruned[i]);
  for (const auto& p : result->plans) {
    const auto& z = p.plan.sizes();
    fmt::print("tp{} cp{} pp{} vpp{} dp{} ep{} esp{} mbs{} {} rc{} z{}{} step {} bound {} mem {} mfu {:.3f} | {}\n", z.tp, z.cp, z.pp, z.vpp, z.dp, z.ep, z.esp, p.plan.micro_batch, p.plan.pipeline, (int)p.plan.recompute, (int)p.plan.zero_dense, (int)p.plan.zero_expert, humanize(p.metrics.step_time), humanize(p.bound), humanize(p.metrics.peak_memory), p.metrics.mfu, p.reason);
  }
}

TEST(Search, Scratch) {
  if (!std::getenv("BIG")) show("zoo:mixtral-8x7b", "preset:h100", 8, 1024);
  if (std::getenv("BIG")) show("zoo:deepseek-v3", "preset:h800", 256, 15360);
}

}  // namespace
}  // namespace moesim
