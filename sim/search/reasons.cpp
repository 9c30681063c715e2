#include "sim/search/reasons.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace moesim {
namespace {

struct Term {
  double share = 0;  // of the step
  std::string text;
};

std::vector<Term> terms_of(const StepMetrics& metrics) {
  const double step = metrics.step_time.value();
  std::vector<Term> terms;
  for (int c = 0; c < kCategories; ++c) {
    const auto category = static_cast<Category>(c);
    const auto i = static_cast<std::size_t>(c);
    terms.push_back({metrics.breakdown.compute[i].value() / step, std::string(category_description(category))});
    terms.push_back({metrics.breakdown.exposed[i].value() / step,
                     category == Category::kPpComm ? std::string("pipeline bubble")
                                                   : fmt::format("exposed {}", category_description(category))});
  }
  return terms;
}

}  // namespace

std::string reason_of_winner(const StepMetrics& metrics) {
  std::vector<Term> terms = terms_of(metrics);
  std::stable_sort(terms.begin(), terms.end(), [](const Term& a, const Term& b) { return a.share > b.share; });
  std::string text = "fastest:";
  for (std::size_t i = 0; i < 3 && terms[i].share > 0; ++i)
    text += fmt::format("{} {:.0f} % {}", i == 0 ? "" : ",", 100 * terms[i].share, terms[i].text);
  return text;
}

std::string reason_against(const StepMetrics& metrics, const StepMetrics& winner) {
  const double slower = metrics.step_time / winner.step_time - 1;
  const std::vector<Term> own = terms_of(metrics);
  const std::vector<Term> best = terms_of(winner);
  const double scale = metrics.step_time / winner.step_time;
  std::size_t worst = 0;
  double loss = 0;
  for (std::size_t i = 0; i < own.size(); ++i) {
    const double more = own[i].share * scale - best[i].share;  // in winner's steps
    if (more > loss) {
      loss = more;
      worst = i;
    }
  }
  if (slower < 5e-5 || loss <= 0) return "as fast as the first";
  return fmt::format("+{:.1f} %: most in {} ({:+.1f} %)", 100 * slower, own[worst].text, 100 * loss);
}

}  // namespace moesim
