// What computation and communication do to each other. The computation is a row of small GEMMs with a look at the
// communication between them, as the executor drives its collectives.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <tuple>

#include "base/text.hpp"
#include "exec/bench/cases.hpp"
#include "exec/bench/collective_runner.hpp"
#include "exec/bench/measure.hpp"

namespace moesim {
namespace {

struct Product {
  DeviceMatrixBuffer x, w, y;
};

class Overlap {
 public:
  static Result<std::shared_ptr<Overlap>> create(BenchContext& context, const OverlapWork& work) {
    auto overlap = std::make_shared<Overlap>(context, work);
    if (work.compute) {
      const GemmWork& gemm = *work.compute;
      MOESIM_ASSIGN(overlap->product_.x, matrix(context, gemm.m, gemm.k, gemm.type));
      MOESIM_ASSIGN(overlap->product_.w, matrix(context, gemm.k, gemm.n, gemm.type));
      MOESIM_ASSIGN(overlap->product_.y, matrix(context, gemm.m, gemm.n, gemm.type));
    }
    for (const CollectiveWork& collective : work.collectives) {
      MOESIM_ASSIGN(CollectiveRunner runner, CollectiveRunner::create(context, collective));
      overlap->runners_.push_back(std::move(runner));
    }
    return overlap;
  }
  Overlap(BenchContext& context, const OverlapWork& work) : context_(context), repeats_(work.compute_repeats) {}

  [[nodiscard]] Status multiply_once() const {
    MOESIM_TRY(context_.backend.gemm(context_.stream, {product_.x.view, product_.w.view, product_.y.view}));
    MOESIM_TRY(context_.backend.synchronize(context_.stream));
    MOESIM_TRY(context_.comm.progress());
    return {};
  }
  [[nodiscard]] Status multiply() const {
    for (int i = 0; i < repeats_; ++i) MOESIM_TRY(multiply_once());
    return {};
  }
  // Each collective `rounds` times, one after the other on its channel.
  void start(int rounds) {
    for (int round = 0; round < rounds; ++round)
      for (std::size_t i = 0; i < runners_.size(); ++i)
        requests_.push_back(runners_[i].start(Channel(static_cast<std::int32_t>(i))));
  }
  [[nodiscard]] Status wait() {
    MOESIM_TRY(wait_all(requests_));
    requests_.clear();
    return {};
  }
  // Computes until the communication is done; every rank must have seen its own done.
  [[nodiscard]] Status multiply_until_done() {
    while (true) {
      bool done = true;
      for (Request& request : requests_) {
        MOESIM_ASSIGN(const bool one, request.test());
        done = done && one;
      }
      if (done) break;
      MOESIM_TRY(multiply_once());
    }
    requests_.clear();
    return {};
  }
  // Whatever the network: about twice as much computation as communication, and some of both.
  [[nodiscard]] Result<OverlapWork> settle(OverlapWork work) {
    constexpr double kMostRepeats = 100'000;
    const Seconds begin = context_.clock();
    MOESIM_TRY(multiply());
    const Seconds middle = context_.clock();
    start(1);
    MOESIM_TRY(wait());
    const Seconds end = context_.clock();
    MOESIM_ASSIGN(const std::vector<double> times,
                  largest_of_all(context_, {(middle - begin).value() / repeats_, (end - middle).value()}));
    const double gemm = std::max(times[0], 1e-7);
    const double collective = std::max(times[1], 1e-7);
    work.compute_repeats = repeats_ =
        static_cast<int>(std::clamp(2 * collective / gemm, static_cast<double>(repeats_), kMostRepeats));
    work.collective_rounds = std::max(1, static_cast<int>(repeats_ * gemm / 2 / collective));
    return work;
  }

 private:
  BenchContext& context_;
  int repeats_;
  Product product_;
  std::vector<CollectiveRunner> runners_;
  std::vector<Request> requests_;
};

Result<PreparedCase> prepare(BenchContext& context, const OverlapWork& work) {
  MOESIM_ASSIGN(const std::shared_ptr<Overlap> overlap, Overlap::create(context, work));
  if (!work.compute)
    return PreparedCase{.run =
                            [overlap] {
                              overlap->start(1);
                              return overlap->wait();
                            },
                        .finish = {}};
  if (work.collectives.empty()) return PreparedCase{.run = [overlap] { return overlap->multiply(); }, .finish = {}};
  if (work.measured == OverlapMeasured::kCommunication)
    return PreparedCase{.run =
                            [overlap] {
                              overlap->start(1);
                              return overlap->multiply_until_done();
                            },
                        .finish = {}};
  MOESIM_TRY(overlap->multiply());  // warm
  overlap->start(1);
  MOESIM_TRY(overlap->wait());
  MOESIM_ASSIGN(const OverlapWork settled, overlap->settle(work));
  return PreparedCase{.run = [overlap, rounds = settled.collective_rounds]() -> Status {
                        overlap->start(rounds);
                        MOESIM_TRY(overlap->multiply());
                        return overlap->wait();
                      },
                      .finish = {},
                      .work = settled};
}

PlannedCase planned(std::string name, OverlapWork work) {
  return {.name = std::move(name), .work = work, .prepare = [work](BenchContext& context) {
            return prepare(context, work);
          }};
}

}  // namespace

std::vector<PlannedCase> overlap_cases(BenchScale scale, const std::vector<std::string>& hosts) {
  const int world = static_cast<int>(hosts.size());
  if (world < 2) return {};
  const bool small = scale == BenchScale::kSmall;
  const GemmWork gemm = small ? GemmWork{.m = 64, .n = 256, .k = 256, .type = DType::kFp32, .output = DType::kFp32}
                              : GemmWork{.m = 4096, .n = 4096, .k = 4096, .type = DType::kBf16, .output = DType::kBf16};
  const int repeats = small ? 100 : 10;
  std::vector<RankId> everyone;
  for (int rank = 0; rank < world; ++rank) everyone.emplace_back(rank);
  const Bytes size = even_size(Bytes(small ? std::int64_t{1} << 20 : std::int64_t{256} << 20), world);
  const CollectiveWork exchange{CollectiveKind::kAllToAll, CollectiveAlgorithm::kPairwise, {everyone}, size};
  const CollectiveWork sum{CollectiveKind::kAllReduce, CollectiveAlgorithm::kRing, {everyone}, size};
  constexpr OverlapMeasured kCompute = OverlapMeasured::kCompute;
  constexpr OverlapMeasured kCommunication = OverlapMeasured::kCommunication;
  std::vector<PlannedCase> cases;
  cases.push_back(planned("overlap: compute alone", {kCompute, gemm, repeats, 0, {}}));
  for (const CollectiveWork& one : {exchange, sum}) {
    const std::string name = fmt::format("{} of {}", collective_name(one.kind), humanize(size));
    cases.push_back(planned(fmt::format("overlap: {} alone", name), {kCommunication, {}, 1, 0, {one}}));
    cases.push_back(planned(fmt::format("overlap: compute beside {}", name), {kCompute, gemm, repeats, 0, {one}}));
    cases.push_back(
        planned(fmt::format("overlap: {} beside compute", name), {kCommunication, gemm, repeats, 0, {one}}));
  }
  cases.push_back(planned("overlap: both collectives together", {kCommunication, {}, 1, 0, {exchange, sum}}));
  return cases;
}

}  // namespace moesim
