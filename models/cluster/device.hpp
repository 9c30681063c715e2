// One accelerator: peaks, memory, and the ports it has. Figures are datasheet peaks unless `provenance` says otherwise;
// what is reachable of them is the business of the cost laws (models/cost).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/units.hpp"
#include "models/precision.hpp"
#include "models/provenance.hpp"

namespace moesim {

class JsonReader;

enum class DeviceArch { kVolta, kTuring, kAmpere, kAda, kHopper, kBlackwell, kCdna2, kCdna3, kCdna4, kCpu, kOther };

struct DeviceSpec {
  std::string name;  // catalogue name, "H100-SXM5-80GB"
  std::string vendor;
  DeviceArch arch = DeviceArch::kOther;
  Bytes memory;                     // what a program can allocate; 79.1 GiB of the 80 GiB on an "80GB" H100
  BytesPerSecond memory_bandwidth;  // peak
  Bytes l2_cache;
  int compute_units = 1;  // SMs or CUs
  Hertz boost_clock;
  // Dense (no sparsity) peak by format; zero: the device has no such unit.
  [[nodiscard]] FlopsPerSecond peak(DType type) const;
  void set_peak(DType type, FlopsPerSecond rate);
  // The format it multiplies `type` in: that one, or where it has no unit for it the next like or wider one (BF16 on a V100
  // is priced as FP16).
  [[nodiscard]] DType computing_format(DType type) const;
  // The best GEMM rate anyone published for it; zero when unknown.
  FlopsPerSecond best_measured_bf16_gemm;
  FlopsPerSecond best_measured_fp8_gemm;
  Provenance provenance;
  Provenance memory_provenance;
  std::string note;  // a caveat for people; may be empty

 private:
  std::array<FlopsPerSecond, 9> peaks_{};  // indexed by DType
};

[[nodiscard]] const char* arch_name(DeviceArch arch);

// Devices that input files may name instead of describing. Names are matched without regard to case, and short
// aliases ("H100", "h100-sxm") resolve to one entry each.
[[nodiscard]] Result<DeviceSpec> find_device(std::string_view name);
[[nodiscard]] std::vector<std::string> device_names();

// A device described in full in a cluster or catalogue file (docs/inputs-cluster.md). The file's own figures are of
// origin `user` unless it says otherwise.
[[nodiscard]] Result<DeviceSpec> read_device(JsonReader reader);

}  // namespace moesim
