#include "traces/synthesize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/text.hpp"
#include "traces/proportional.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

constexpr std::array kLaws = {GateLaw::kBalanced, GateLaw::kZipf, GateLaw::kDirichlet, GateLaw::kHotExpert};
constexpr double kWeightScale = 0x1p30;  // real shares become whole weights below this
constexpr double kSmallestAlpha = 0.01;

double rows_of(const SynthesisRequest& r) {
  return static_cast<double>(r.steps) * r.layers * r.micro_batches * r.source_ranks;
}

Status check_size(const SynthesisRequest& r) {
  const double counts = rows_of(r) * r.experts;
  if (counts > kMostSynthesizedCounts)
    return usage_error(fmt::format("the trace would have {:.3g} counts ({:.3g} rows of {} experts), more than {:.0g}",
                                   counts, rows_of(r), r.experts, kMostSynthesizedCounts),
                       "ask for fewer steps, layers, micro-batches, source ranks or experts");
  if (static_cast<double>(r.layers) * r.experts > kMostSynthesizedShares)
    return usage_error(fmt::format("{} layers of {} experts are more than {:.0g} experts together", r.layers, r.experts,
                                   kMostSynthesizedShares),
                       "ask for fewer layers or experts");
  return {};
}

}  // namespace

Status check_synthesis(const SynthesisRequest& r) {
  if (r.steps < 1 || r.layers < 1 || r.micro_batches < 1 || r.source_ranks < 1 || r.first_layer < 0)
    return usage_error("steps, layers, micro-batches and source ranks must be positive");
  if (r.experts < 2 || r.experts > 65536) return usage_error("experts must be 2 to 65536");
  if (r.top_k < 1 || r.top_k > r.experts) return usage_error("top_k must be 1 to the number of experts");
  if (r.tokens < 1 || r.tokens > INT32_MAX / r.top_k) return usage_error("tokens are out of range");
  if (!(r.drift >= 0 && r.drift <= 1)) return usage_error("drift must be 0 to 1");
  if (!(r.zipf_exponent >= 0 && r.zipf_exponent <= 20)) return usage_error("the Zipf exponent must be 0 to 20");
  if (!(r.dirichlet_alpha >= kSmallestAlpha && r.dirichlet_alpha <= 1e6))
    return usage_error("the Dirichlet alpha must be 0.01 to 1e6");
  if (r.law == GateLaw::kHotExpert && !(r.hot_share >= 0 && r.hot_share <= 1.0 / r.top_k))
    return usage_error(fmt::format("the hot expert's share must be 0 to 1/top_k = {:.3g}", 1.0 / r.top_k),
                       "a token chooses an expert at most once, so none can have more");
  return check_size(r);
}

namespace {

Pcg32 generator_for(const SynthesisRequest& r, std::uint64_t purpose, int layer, int step) {
  std::uint64_t mixed = splitmix64(r.seed ^ splitmix64(purpose));
  mixed = splitmix64(mixed ^ static_cast<std::uint64_t>(layer));
  return Pcg32(splitmix64(mixed ^ static_cast<std::uint64_t>(step)), purpose);
}

std::vector<double> zipf_shares(const SynthesisRequest& r, Pcg32& random) {
  std::vector<double> shares(static_cast<std::size_t>(r.experts));
  for (std::size_t i = 0; i < shares.size(); ++i)
    shares[i] = portable_exp(-r.zipf_exponent * portable_log(static_cast<double>(i + 1)));
  for (std::size_t i = shares.size(); i > 1; --i)
    std::swap(shares[i - 1], shares[random.below(static_cast<std::uint32_t>(i))]);
  return shares;
}

std::vector<double> draw_shares(const SynthesisRequest& r, Pcg32 random) {
  const auto experts = static_cast<std::size_t>(r.experts);
  std::vector<double> shares(experts, 1);
  switch (r.law) {
    case GateLaw::kBalanced: break;
    case GateLaw::kZipf: shares = zipf_shares(r, random); break;
    case GateLaw::kDirichlet:
      for (double& share : shares) share = random.gamma(r.dirichlet_alpha);
      break;
    case GateLaw::kHotExpert:
      std::fill(shares.begin(), shares.end(), (1 - r.hot_share) / (r.experts - 1));
      shares[random.below(static_cast<std::uint32_t>(r.experts))] = r.hot_share;
      break;
  }
  double sum = 0;
  for (const double share : shares) sum += share;
  // With a tiny alpha every draw may underflow; all on one expert is then what the law means.
  if (sum <= 0) shares[random.below(static_cast<std::uint32_t>(r.experts))] = sum = 1;
  for (double& share : shares) share /= sum;
  return shares;
}

class RowMaker {
 public:
  explicit RowMaker(const SynthesisRequest& request)
      : r_(request),
        weights_(static_cast<std::size_t>(request.experts)),
        rounded_(weights_.size()),
        counts_(weights_.size()),
        carry_(weights_.size(), 0) {}

  std::span<const std::uint32_t> make(const std::vector<double>& shares, Pcg32& random) {
    const double selections = static_cast<double>(r_.tokens * r_.top_k);
    std::uint64_t total = 0;
    for (std::size_t e = 0; e < weights_.size(); ++e) {
      const double expected = selections * shares[e];
      const double noise =
          r_.law == GateLaw::kBalanced ? 0 : std::sqrt(expected * std::max(0.0, 1 - shares[e])) * random.near_normal();
      weights_[e] = static_cast<std::uint64_t>(std::max(0.0, (expected + noise) / selections) * kWeightScale);
      total += weights_[e];
    }
    if (total == 0) weights_[0] = 1;
    // Balanced rows share their remainders out over all experts from row to row.
    const auto carry = r_.law == GateLaw::kBalanced ? std::span(carry_) : std::span<std::int64_t>();
    rounder_.round(weights_, r_.tokens * r_.top_k, r_.tokens, carry, rounded_);
    std::transform(rounded_.begin(), rounded_.end(), counts_.begin(),
                   [](std::int32_t count) { return static_cast<std::uint32_t>(count); });
    return counts_;
  }

 private:
  const SynthesisRequest& r_;
  ProportionalRounder rounder_;
  std::vector<std::uint64_t> weights_;
  std::vector<std::int32_t> rounded_;
  std::vector<std::uint32_t> counts_;
  std::vector<std::int64_t> carry_;
};

}  // namespace

std::string_view name_of(GateLaw law) {
  switch (law) {
    case GateLaw::kBalanced: return "balanced";
    case GateLaw::kZipf: return "zipf";
    case GateLaw::kDirichlet: return "dirichlet";
    case GateLaw::kHotExpert: return "hot";
  }
  MOESIM_ASSERT(false);
}

Result<GateLaw> parse_gate_law(std::string_view name) {
  std::vector<std::string> names;
  for (const GateLaw law : kLaws) {
    if (name_of(law) == name) return law;
    names.emplace_back(name_of(law));
  }
  return usage_error(fmt::format("unknown gate law '{}'{}", name, did_you_mean(name, names)),
                     "balanced, zipf, dirichlet or hot");
}

TraceInfo describe_synthesis(const SynthesisRequest& r) {
  TraceInfo info;
  info.format = "synthetic";
  info.model = r.model;
  info.top_k = r.top_k;
  info.tokens_per_rank_per_microbatch = r.tokens;
  info.model_experts = r.experts;
  info.num_src_ranks = r.source_ranks;
  info.origin = TraceOrigin::kSynthetic;
  info.drops = TraceDrops::kNone;
  std::string options;
  if (r.law == GateLaw::kZipf) options = fmt::format(" --zipf-exponent {}", r.zipf_exponent);
  if (r.law == GateLaw::kDirichlet) options = fmt::format(" --dirichlet-alpha {}", r.dirichlet_alpha);
  if (r.law == GateLaw::kHotExpert) options = fmt::format(" --hot-share {}", r.hot_share);
  if (r.drift > 0) options += fmt::format(" --drift {}", r.drift);
  if (r.first_layer > 0) options += fmt::format(" --first-layer {}", r.first_layer);
  if (!r.model.empty()) options += fmt::format(" --model {}", r.model);
  info.gate = fmt::format("synthetic {}", name_of(r.law));
  info.source = fmt::format(
      "moesim trace synth --law {}{} --steps {} --layers {} --micro-batches {} --source-ranks {} --experts {} --top-k "
      "{} "
      "--tokens {} --seed {}",
      name_of(r.law), options, r.steps, r.layers, r.micro_batches, r.source_ranks, r.experts, r.top_k, r.tokens,
      r.seed);
  info.notes = "SYNTHETIC: generated, not recorded from any model";
  return info;
}

Status synthesize(const SynthesisRequest& request, RowSink& sink, const SynthesisRun& run) {
  MOESIM_TRY(check_synthesis(request));
  const auto total = static_cast<std::uint64_t>(rows_of(request));
  std::uint64_t done = 0;
  constexpr std::uint64_t kShares = 1;
  constexpr std::uint64_t kNoise = 2;
  constexpr std::uint64_t kRowsBetweenLooks = 256;  // at the clock and for an interrupt
  std::vector<std::vector<double>> shares(static_cast<std::size_t>(request.layers));
  RowMaker maker(request);
  for (int step = 0; step < request.steps; ++step)
    for (int layer = 0; layer < request.layers; ++layer) {
      std::vector<double>& p = shares[static_cast<std::size_t>(layer)];
      if (step == 0) {
        p = draw_shares(request, generator_for(request, kShares, layer, 0));
      } else if (request.drift > 0) {
        const std::vector<double> fresh = draw_shares(request, generator_for(request, kShares, layer, step));
        for (std::size_t e = 0; e < p.size(); ++e) p[e] = (1 - request.drift) * p[e] + request.drift * fresh[e];
      }
      Pcg32 noise = generator_for(request, kNoise, layer, step);
      for (int micro_batch = 0; micro_batch < request.micro_batches; ++micro_batch)
        for (int rank = 0; rank < request.source_ranks; ++rank) {
          if (done++ % kRowsBetweenLooks == 0) {
            if (run.stop.stop_requested()) return fail(ErrorKind::kInterrupted, "interrupted; nothing was written");
            if (run.progress != nullptr) run.progress->update(done, total, "rows");
          }
          const RowKey key{step, request.first_layer + layer, micro_batch, rank};
          MOESIM_TRY(sink.counts({key, maker.make(p, noise), {"synthetic trace", 0}}));
        }
    }
  return {};
}

Result<SelectionTrace> synthesize_trace(const SynthesisRequest& request, std::uint64_t memory_limit_bytes) {
  TraceBuilder builder(memory_limit_bytes);
  MOESIM_TRY(synthesize(request, builder));
  Findings none;
  return std::move(builder).finish(describe_synthesis(request), none);
}

}  // namespace moesim
