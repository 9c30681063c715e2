#include "models/cost/law_parameters.hpp"

#include <algorithm>

namespace moesim {
namespace {

Provenance estimate(std::string source) { return {Origin::kEstimated, std::move(source), -1, {}}; }

void set_attention(AttentionParameters& attention, DeviceArch arch) {
  switch (arch) {
    case DeviceArch::kAmpere:
    case DeviceArch::kAda: attention.forward_efficiency = 0.60, attention.backward_efficiency = 0.52; return;
    case DeviceArch::kHopper: attention.forward_efficiency = 0.66, attention.backward_efficiency = 0.53; return;
    case DeviceArch::kBlackwell: attention.forward_efficiency = 0.58, attention.backward_efficiency = 0.45; return;
    case DeviceArch::kVolta:
    case DeviceArch::kTuring: attention.forward_efficiency = 0.45, attention.backward_efficiency = 0.35; return;
    case DeviceArch::kCdna2:
    case DeviceArch::kCdna3:
    case DeviceArch::kCdna4: attention.forward_efficiency = 0.38, attention.backward_efficiency = 0.28; return;
    case DeviceArch::kCpu:
    case DeviceArch::kOther: attention.forward_efficiency = 0.40, attention.backward_efficiency = 0.30; return;
  }
}

void set_gemm(GemmParameters& gemm, const DeviceSpec& device) {
  switch (device.arch) {
    case DeviceArch::kHopper:
      gemm.math_efficiency = 0.80, gemm.math_efficiency_fp8 = 0.72, gemm.sustained = 0.88;
      break;
    case DeviceArch::kBlackwell:
      gemm.math_efficiency = 0.78, gemm.math_efficiency_fp8 = 0.75, gemm.sustained = 0.75,
      gemm.load_bytes_per_clock = 128;
      break;
    case DeviceArch::kAmpere: gemm.math_efficiency = 0.85; break;
    case DeviceArch::kAda: gemm.math_efficiency = 0.85, gemm.math_efficiency_fp8 = 0.85; break;
    case DeviceArch::kVolta:
    case DeviceArch::kTuring: gemm.math_efficiency = 0.75; break;
    case DeviceArch::kCdna2:
    case DeviceArch::kCdna3:
    case DeviceArch::kCdna4:
      gemm.math_efficiency = 0.55, gemm.math_efficiency_fp8 = 0.45, gemm.load_bytes_per_clock = 128;
      break;
    case DeviceArch::kCpu:
    case DeviceArch::kOther: gemm.math_efficiency = 0.70; break;
  }
  // A search for the best shape still pays prologue and last wave; the main loop alone is a little faster.
  constexpr double kBestShapeLoss = 1.03;
  const double peak16 = device.peak(DType::kBf16).value();
  const double peak8 = device.peak(DType::kFp8).value();
  const double best16 = device.best_measured_bf16_gemm.value();
  const double best8 = device.best_measured_fp8_gemm.value();
  if (best16 > 0 && peak16 > 0) gemm.math_efficiency = std::min(1.0, kBestShapeLoss * best16 / peak16);
  if (best8 > 0 && peak8 > 0) gemm.math_efficiency_fp8 = std::min(1.0, kBestShapeLoss * best8 / peak8);
}

void set_links(LawParameters& parameters, DeviceArch arch) {
  LinkParameters& nvlink = parameters.link(LinkClass::kNvlink);
  nvlink = {.ring_efficiency = 0.79,
            .tree_efficiency = 0.79,
            .all_to_all_efficiency = 0.75,
            .one_way_efficiency = 0.80,
            .switch_efficiency = 0.61,
            .ring_step = Seconds(1.2e-6),
            .tree_step = Seconds(1.0e-6),
            .peer_step = Seconds(0.6e-6),
            .pipeline_step = Seconds(0.7e-6),
            .quick_share = 0.5,
            .long_step = Seconds(0.5e-6)};
  if (arch == DeviceArch::kHopper)
    nvlink.ring_efficiency = nvlink.tree_efficiency = 0.82, nvlink.one_way_efficiency = 0.86;
  if (arch == DeviceArch::kBlackwell)
    nvlink.ring_efficiency = nvlink.tree_efficiency = 0.85, nvlink.one_way_efficiency = 0.86,
    nvlink.switch_efficiency = 0.53;
  parameters.link(LinkClass::kXgmi) = {.ring_efficiency = 0.74,
                                       .tree_efficiency = 0.74,
                                       .all_to_all_efficiency = 0.67,
                                       .one_way_efficiency = 0.75,
                                       .switch_efficiency = 0.5,
                                       .ring_step = Seconds(2e-6),
                                       .tree_step = Seconds(2e-6),
                                       .peer_step = Seconds(1e-6),
                                       .pipeline_step = Seconds(1e-6),
                                       .quick_share = 0.5,
                                       .long_step = Seconds(1e-6)};
  parameters.link(LinkClass::kPcie) = {.ring_efficiency = 0.70,
                                       .tree_efficiency = 0.70,
                                       .all_to_all_efficiency = 0.60,
                                       .one_way_efficiency = 0.80,
                                       .switch_efficiency = 0.5,
                                       .ring_step = Seconds(2e-6),
                                       .tree_step = Seconds(2e-6),
                                       .peer_step = Seconds(1e-6),
                                       .pipeline_step = Seconds(2e-6),
                                       .quick_share = 0.5,
                                       .long_step = Seconds(1e-6)};
  parameters.link(LinkClass::kSocket) = parameters.link(LinkClass::kPcie);
  parameters.link(LinkClass::kOther) = parameters.link(LinkClass::kPcie);
  parameters.link(LinkClass::kNic) = {.ring_efficiency = 0.90,
                                      .tree_efficiency = 0.90,
                                      .all_to_all_efficiency = 0.85,
                                      .one_way_efficiency = 0.92,
                                      .switch_efficiency = 0.5,
                                      .ring_step = Seconds(6e-6),
                                      .tree_step = Seconds(5e-6),
                                      .peer_step = Seconds(1.5e-6),
                                      .pipeline_step = Seconds(4e-6),
                                      .quick_share = 0.4,
                                      .long_step = Seconds(5e-6)};
}

}  // namespace

LawParameters default_law_parameters(const DeviceSpec& device) {
  LawParameters parameters;
  parameters.device = device.name;
  set_gemm(parameters.gemm, device);
  set_attention(parameters.attention, device.arch);
  set_links(parameters, device.arch);
  parameters.gemm_provenance = device.best_measured_bf16_gemm.value() > 0
                                   ? estimate(
                                         "best published GEMM rate (stas00/ml-engineering, accelerator "
                                         "chapter); other parameters by architecture")
                                   : estimate("efficiencies of GPUs of the same architecture");
  parameters.attention_provenance = estimate("flash-attention rates of the same or a neighbouring architecture");
  parameters.memory_provenance = estimate("85 % of the memory peak, as stream benchmarks reach");
  parameters.launch_provenance =
      estimate("4 to 6 us for a launch from eager PyTorch; autograd and modules, which add to it, are left out");
  parameters.collective_provenance = estimate("NCCL start-up of about 10 us");
  parameters.overlap_provenance = {Origin::kMeasured, "DeepSeek-V3 report: 20 of 132 units communicate", -1, {}};
  for (Provenance& provenance : parameters.link_provenance)
    provenance = estimate("nccl-tests figures of links of the same class");
  parameters.link_provenance[static_cast<std::size_t>(LinkClass::kNic)] =
      estimate("46-49 GB/s of a 400 Gbit/s NIC (NVIDIA/nccl-tests issues 267 and 290)");
  return parameters;
}

}  // namespace moesim
