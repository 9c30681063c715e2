#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "exec/compute/cpu/cpu_backend.hpp"
#include "exec/compute/cpu/fast_exp.hpp"
#include "exec/compute/cpu/fp32_access.hpp"
#include "exec/compute/cpu/row_math.hpp"
#include "exec/compute/kernel_checks.hpp"

namespace moesim {
namespace {

void scores_of(RouterScore kind, const float* logits, std::int64_t experts, float* scores) {
  if (kind != RouterScore::kSigmoid) {
    std::copy_n(logits, experts, scores);
    softmax_row(scores, experts);
    return;
  }
  for (std::int64_t e = 0; e < experts; ++e) scores[e] = 1.0F / (1.0F + fast_exp(-logits[e]));
}

// Softmax scores of the chosen, divided by their sum, are the softmax of their logits; computed so, no sum can vanish.
bool softmax_of_chosen(const GateSettings& gate) {
  return gate.score == RouterScore::kSoftmaxOfTopk || (gate.score == RouterScore::kSoftmax && gate.normalise);
}

// Sigmoids far below any that training produces are all 0 in FP32; this keeps their shares finite.
constexpr float kLeastSum = 1e-20F;

// Shares of the chosen experts before `scale`: their softmax, or their scores, over their sum where it is asked for.
void chosen_weights(const GateSettings& gate, const float* logits, const float* scores, const std::int32_t* chosen,
                    float* weights) {
  const std::int64_t k = gate.top_k;
  const bool of_chosen = softmax_of_chosen(gate);
  for (std::int64_t i = 0; i < k; ++i) weights[i] = of_chosen ? logits[chosen[i]] : scores[chosen[i]];
  if (of_chosen) softmax_row(weights, k);
  if (of_chosen || !gate.normalise) return;
  const float sum = std::max(sum_of(weights, k), kLeastSum);
  for (std::int64_t i = 0; i < k; ++i) weights[i] /= sum;
}

// Puts experts outside the best groups behind all others.
void leave_groups_out(const GateSettings& gate, std::vector<float>& preferences) {
  const auto groups = static_cast<std::size_t>(gate.groups);
  const std::size_t size = preferences.size() / groups;
  const bool two = gate.score == RouterScore::kSigmoid && size > 1;
  std::vector<std::pair<float, std::size_t>> ranked;  // of equal groups the lower comes first
  for (std::size_t g = 0; g < groups; ++g) {
    float best = -std::numeric_limits<float>::infinity();
    float second = best;
    for (std::size_t e = g * size; e < (g + 1) * size; ++e) {
      second = std::max(second, std::min(best, preferences[e]));
      best = std::max(best, preferences[e]);
    }
    ranked.emplace_back(-(two ? best + second : best), g);
  }
  std::sort(ranked.begin(), ranked.end());
  for (std::size_t i = static_cast<std::size_t>(gate.top_groups); i < groups; ++i)
    for (std::size_t e = ranked[i].second * size; e < (ranked[i].second + 1) * size; ++e)
      preferences[e] = -std::numeric_limits<float>::infinity();
}

// Picks the experts of token after token. Scores rise with logits, so that the logits decide where nothing is added to the
// scores: they tie less often.
class Chooser {
 public:
  Chooser(std::int64_t tokens, std::int64_t experts, std::int64_t top_k, std::span<const std::int32_t> forced)
      : tokens_left_(tokens), top_k_(top_k), left_(forced.begin(), forced.end()), taken_(experts) {}

  void choose(const float* preferences, std::int32_t* chosen) {
    std::fill(taken_.begin(), taken_.end(), false);
    std::int64_t found = 0;
    // An expert with as many places left as there are tokens left has to take all of them. Such experts are at most top_k,
    // because all places left together are tokens_left * top_k.
    for (std::size_t e = 0; e < left_.size(); ++e)
      if (left_[e] == tokens_left_) take(static_cast<std::int32_t>(e), chosen, found);
    while (found < top_k_) take(best_free(preferences), chosen, found);
    std::sort(chosen, chosen + top_k_, [&](std::int32_t a, std::int32_t b) {
      const float first = rank_of(preferences[a]);
      const float second = rank_of(preferences[b]);
      return first != second ? first > second : a < b;
    });
    --tokens_left_;
  }

 private:
  static float rank_of(float value) { return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value; }

  void take(std::int32_t expert, std::int32_t* chosen, std::int64_t& found) {
    taken_[static_cast<std::size_t>(expert)] = true;
    if (!left_.empty()) --left_[static_cast<std::size_t>(expert)];
    chosen[found++] = expert;
  }

  [[nodiscard]] std::int32_t best_free(const float* preferences) const {
    std::int32_t best = -1;
    for (std::size_t e = 0; e < taken_.size(); ++e) {
      if (taken_[e] || (!left_.empty() && left_[e] == 0)) continue;
      if (best < 0 || rank_of(preferences[e]) > rank_of(preferences[best])) best = static_cast<std::int32_t>(e);
    }
    MOESIM_ASSERT(best >= 0);
    return best;
  }

  std::int64_t tokens_left_;
  std::int64_t top_k_;
  std::vector<std::int64_t> left_;  // places by expert; empty: no limits
  std::vector<bool> taken_;
};

// Gradient of the scores of the chosen, added to `gradient` by expert. Not for softmax_of_chosen().
void add_score_gradients(const GateSettings& gate, const float* scores, const std::int32_t* chosen, const float* gp,
                         float* gradient) {
  const std::int64_t k = gate.top_k;
  float sum = 1.0F;
  float along = 0.0F;
  if (gate.normalise) {
    sum = 0.0F;
    for (std::int64_t i = 0; i < k; ++i) sum += scores[chosen[i]];
    sum = std::max(sum, kLeastSum);
    for (std::int64_t i = 0; i < k; ++i) along += gp[i] * scores[chosen[i]] / sum;
  }
  for (std::int64_t i = 0; i < k; ++i) gradient[chosen[i]] += gate.scale * (gp[i] - along) / sum;
}

// d loss / d share of an expert in one token's scores.
std::vector<float> share_gradients(const TopKGradArgs& args) {
  const std::int64_t experts = args.logits.columns;
  std::vector<float> result(static_cast<std::size_t>(experts), 0.0F);
  if (!args.balance || args.balance->tokens == 0) return result;
  const double tokens = static_cast<double>(args.balance->tokens);
  const double factor = static_cast<double>(args.balance->coefficient) * static_cast<double>(experts) /
                        (tokens * static_cast<double>(args.gate.top_k) * tokens);
  const float* chosen = fp32_row(args.balance->statistics, 0);
  for (std::size_t e = 0; e < result.size(); ++e)
    result[e] = static_cast<float>(factor * static_cast<double>(chosen[e]));
  return result;
}

// Through the scores to the logits: softmax couples all experts, a sigmoid none. `g` holds gradients of the scores; `shares`
// those of the shares, which for softmax are the scores themselves.
void to_logits(RouterScore kind, const float* scores, const std::vector<float>& shares, std::vector<float>& g) {
  const std::size_t experts = g.size();
  if (kind == RouterScore::kSigmoid) {
    const float sum = std::max(sum_of(scores, static_cast<std::int64_t>(experts)), kLeastSum);
    const float along = dot(shares.data(), scores, static_cast<std::int64_t>(experts)) / sum;
    for (std::size_t e = 0; e < experts; ++e)
      g[e] = (g[e] + (shares[e] - along) / sum) * scores[e] * (1.0F - scores[e]);
    return;
  }
  for (std::size_t e = 0; e < experts; ++e) g[e] += shares[e];
  const float along = dot(g.data(), scores, static_cast<std::int64_t>(experts));
  for (std::size_t e = 0; e < experts; ++e) g[e] = scores[e] * (g[e] - along);
}

}  // namespace

Status CpuBackend::top_k(DeviceStream, const TopKArgs& args) {
  const std::int64_t k = args.gate.top_k;
  const std::int64_t experts = args.logits.columns;
  MOESIM_TRY(check_operands(args));
  Chooser chooser(args.logits.rows, experts, k, args.forced_counts);
  GateSettings gate = args.gate;
  if (!args.forced_counts.empty()) gate.groups = 0;
  const bool by_logits = !args.bias && gate.groups <= 1;
  std::vector<float> scores(static_cast<std::size_t>(experts));
  std::vector<float> preferences(scores.size());
  std::vector<float> bias(scores.size(), 0.0F);
  if (args.bias) {
    RowReader row(*args.bias);
    std::copy_n(row(0), experts, bias.begin());
  }
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(k));
  std::vector<double> counts(scores.size(), 0.0);
  std::vector<double> shares(scores.size(), 0.0);
  RowReader logits(args.logits);
  for (std::int64_t r = 0; r < args.logits.rows; ++r) {
    const float* row = logits(r);
    scores_of(args.gate.score, row, experts, scores.data());
    if (!by_logits) {
      std::transform(scores.begin(), scores.end(), bias.begin(), preferences.begin(), std::plus<>());
      if (gate.groups > 1) leave_groups_out(gate, preferences);
    }
    chooser.choose(by_logits ? row : preferences.data(), chosen.data());
    float* out = fp32_row(args.probabilities, r);
    chosen_weights(args.gate, row, scores.data(), chosen.data(), out);
    for (std::int64_t i = 0; i < k; ++i) {
      out[i] *= args.gate.scale;
      out[k + i] = static_cast<float>(chosen[static_cast<std::size_t>(i)]);
      counts[static_cast<std::size_t>(chosen[static_cast<std::size_t>(i)])] += 1.0;
    }
    const float sum =
        args.gate.score == RouterScore::kSigmoid ? std::max(sum_of(scores.data(), experts), kLeastSum) : 1.0F;
    for (std::size_t e = 0; e < scores.size(); ++e) shares[e] += static_cast<double>(scores[e] / sum);
  }
  if (!args.statistics) return {};
  for (std::size_t e = 0; e < scores.size(); ++e) {
    fp32_row(*args.statistics, 0)[e] = static_cast<float>(counts[e]);
    fp32_row(*args.statistics, 1)[e] = static_cast<float>(shares[e]);
  }
  return {};
}

Status CpuBackend::top_k_grad(DeviceStream, const TopKGradArgs& args) {
  const std::int64_t k = args.gate.top_k;
  const std::int64_t experts = args.logits.columns;
  MOESIM_TRY(check_operands(args));
  const std::vector<float> shares = share_gradients(args);
  std::vector<float> scores(static_cast<std::size_t>(experts));
  std::vector<float> gradient(scores.size());
  std::vector<float> weights(static_cast<std::size_t>(k));
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(k));
  RowReader logits(args.logits);
  RowReader gps(args.gp);
  RowWriter out(args.glogits);
  for (std::int64_t r = 0; r < args.logits.rows; ++r) {
    const float* row = logits(r);
    const float* gp = gps(r);
    const float* probabilities = fp32_row(args.probabilities, r);
    std::transform(probabilities + k, probabilities + 2 * k, chosen.begin(), [&](float id) {
      return static_cast<std::int32_t>(std::clamp(id, 0.0F, static_cast<float>(experts - 1)));
    });
    scores_of(args.gate.score, row, experts, scores.data());
    std::fill(gradient.begin(), gradient.end(), 0.0F);
    if (!softmax_of_chosen(args.gate))
      add_score_gradients(args.gate, scores.data(), chosen.data(), gp, gradient.data());
    to_logits(args.gate.score, scores.data(), shares, gradient);
    if (softmax_of_chosen(args.gate)) {
      chosen_weights(args.gate, row, scores.data(), chosen.data(), weights.data());
      const float along = dot(gp, weights.data(), k);
      for (std::size_t i = 0; i < chosen.size(); ++i)
        gradient[static_cast<std::size_t>(chosen[i])] += args.gate.scale * weights[i] * (gp[i] - along);
    }
    std::copy(gradient.begin(), gradient.end(), out.begin(r));
    out.commit();
  }
  return {};
}

}  // namespace moesim
