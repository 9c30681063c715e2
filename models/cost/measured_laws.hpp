// What was measured so directly that a law need not guess it: shapes of GEMMs and attention, memory-bound
// kernels and collectives by size.
// Fitted by calibration/, empty for devices that nobody measured in this way. All of them only for the very device.
#pragma once

#include <vector>

#include "models/cost/collective.hpp"
#include "models/cost/exchange/algorithm.hpp"
#include "models/cost/piecewise_time.hpp"
#include "models/cost/work.hpp"

namespace moesim {

struct GemmPoint {
  DType type = DType::kBf16;
  double m = 0;
  double n = 0;
  double k = 0;
  double seconds = 0;
};

struct AttentionPoint {
  AttentionWork work;
  double seconds = 0;
};

struct MemorySeries {
  MemoryKernel kernel = MemoryKernel::kOther;
  DType type = DType::kBf16;
  PiecewiseTime time;             // of the bytes read and written
  std::vector<TimePoint> points;  // what it was fitted to
};

// One collective in one kind of group, while all ranks of the cluster are busy with it.
struct CollectiveSeries {
  CollectiveKind kind = CollectiveKind::kAllReduce;
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::kAuto;
  GroupShape shape;
  PiecewiseTime time;  // of the buffer's size as collective.hpp defines it
  std::vector<TimePoint> points;
  ExchangeAlgorithm exchange = ExchangeAlgorithm::kLinear;  // of an all-to-all
};

struct MeasuredLaws {
  std::vector<GemmPoint> gemm;
  std::vector<AttentionPoint> attention;
  std::vector<MemorySeries> memory;
  std::vector<CollectiveSeries> collectives;
};

}  // namespace moesim
