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
  // How many rounds keep communication in flight for as long as the row of GEMMs takes, and half as long again.
  [[nodiscard]] Result<int> rounds_beside_compute() {
    const Seconds begin = context_.clock();
    MOESIM_TRY(multiply());
    const Seconds middle = context_.clock();
    start(1);
    MOESIM_TRY(wait());
    const Seconds end = context_.clock();
    MOESIM_ASSIGN(const std::vector<double> times,
                  largest_of_all(context_, {(middle - begin).value(), (end - middle).value()}));
    return 1 + static_cast<int>(std::ceil(1.5 * times[0] / std::max(times[1], 1e-6)));
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
  MOESIM_ASSIGN(const int rounds, overlap->rounds_beside_compute());
  return PreparedCase{.run =
                          [overlap, rounds] {
                            overlap->start(rounds);
                            return overlap->multiply();
                          },
                      .finish = [overlap] { return overlap->wait(); },
                      .repeatable = false};
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
  cases.push_back(planned("overlap: compute alone", {kCompute, gemm, repeats, {}}));
  for (const CollectiveWork& one : {exchange, sum}) {
    const std::string name = fmt::format("{} of {}", collective_name(one.kind), humanize(size));
    cases.push_back(planned(fmt::format("overlap: {} alone", name), {kCommunication, {}, 1, {one}}));
    cases.push_back(planned(fmt::format("overlap: compute beside {}", name), {kCompute, gemm, repeats, {one}}));
    cases.push_back(planned(fmt::format("overlap: {} beside compute", name), {kCommunication, gemm, repeats, {one}}));
  }
  cases.push_back(planned("overlap: both collectives together", {kCommunication, {}, 1, {exchange, sum}}));
  return cases;
}

}  // namespace moesim
