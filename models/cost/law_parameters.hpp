// The few physical parameters of every cost law for one kind of device, and where they come from.
//
// Defaults by architecture (default_law_parameters) are estimates carried over from figures of the same or a
// neighbouring architecture; calibration/ replaces them with fitted ones. Efficiencies are shares of the
// datasheet peak in (0, 1], times in seconds, sizes in bytes.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "base/units.hpp"
#include "models/cluster/cluster_view.hpp"
#include "models/cluster/device.hpp"
#include "models/cost/measured_laws.hpp"
#include "models/provenance.hpp"

namespace moesim {

struct GemmParameters {
  double math_efficiency = 0.80;       // main loop of a full tile over the peak: 16-bit formats, short kernels
  double math_efficiency_fp8 = 0.75;   // the same for 8- and 4-bit formats
  double math_efficiency_fp32 = 0.85;  // the same for FP32 and TF32
  double sustained = 1.0;              // rate of kernels long enough to meet the power limit over that of short ones
  Seconds sustained_after{1e-3};       // duration at which half of that loss has set in
  double ramp_bytes = 512;             // prologue and epilogue of a tile, as bytes of k that its main loop could read
  double wave_loss = 0.7;              // share of a last, partly filled wave that is lost (1: clocks do not rise)
  double load_bytes_per_clock = 96;    // L2 to one compute unit
  double epilogue_exposed = 0.3;       // share of the result's traffic that no main loop hides
  double memory_efficiency = 0.85;     // of the memory peak
  Seconds overhead{2.5e-6};            // start and end of one kernel on the device
};

struct AttentionParameters {
  double forward_efficiency = 0.60;
  double backward_efficiency = 0.50;
  double wide_head_factor = 0.9;  // on both, for score dimensions above 128 (MLA's 192)
  double forward_tail = 0.5;      // share of a longest block during which most units have run dry
  double backward_tail = 0.35;
  double memory_efficiency = 0.80;
  Seconds overhead{4e-6};
};

struct MemoryParameters {
  double efficiency = 0.85;     // of the memory peak, long streams
  double row_ramp_bytes = 256;  // a scattered row of this size reaches half of that
  Seconds overhead{2.5e-6};     // per kernel; also what small sizes pay
};

struct LaunchParameters {
  Seconds issue_interval{6e-6};  // between two kernels that the host issues one after the other
  Seconds operation{0};          // what the executor does for an operation while nothing computes
};

// How collectives use one class of link.
struct LinkParameters {
  double ring_efficiency = 0.80;        // of the port, rings, long messages
  double tree_efficiency = 0.80;        // of the port, trees, long messages
  double all_to_all_efficiency = 0.75;  // of the port, exchanges with many peers
  double one_way_efficiency = 0.80;     // of the port, broadcast and send/receive
  double switch_efficiency = 0.60;      // all-reduce inside the switch: bytes of the buffer over the port's rate
  Seconds ring_step{2e-6};              // per hop of a ring
  Seconds tree_step{2e-6};              // per hop of a tree
  Seconds peer_step{0.5e-6};            // per peer of an all-to-all
  Seconds pipeline_step{0.7e-6};        // per chunk of a long message, see pipelined_seconds()
  double quick_share = 0.5;             // of the rate, short-message protocols (NCCL's LL and LL128)
  Seconds long_step{0.5e-6};            // per hop of a ring or tree, what the long-message protocol takes on top
};

struct CollectiveParameters {
  Seconds base{10e-6};         // start and end of one communication kernel
  Seconds switch_base{13e-6};  // the same for the reduction in the switch
};

struct OverlapParameters {
  // Share of the compute units that communication kernels hold while they run. DeepSeek-V3 report: 20 of 132.
  double units_held = 20.0 / 132.0;
};

constexpr std::size_t kLinkClasses = 7;  // LinkClass

struct LawParameters {
  std::string device;  // catalogue name of the device they are for
  GemmParameters gemm;
  AttentionParameters attention;
  MemoryParameters memory;
  LaunchParameters launch;
  CollectiveParameters collective;
  OverlapParameters overlap;
  std::array<LinkParameters, kLinkClasses> links;
  MeasuredLaws measured;

  Provenance gemm_provenance;
  Provenance attention_provenance;
  Provenance memory_provenance;
  Provenance launch_provenance;
  Provenance collective_provenance;
  Provenance overlap_provenance;
  Provenance measured_collectives_provenance;
  std::array<Provenance, kLinkClasses> link_provenance;

  // Links above a NIC (leaf and spine uplinks) are crossed by the same messages as the NIC.
  [[nodiscard]] const LinkParameters& link(LinkClass link) const {
    return links[static_cast<std::size_t>(link == LinkClass::kSwitch ? LinkClass::kNic : link)];
  }
  [[nodiscard]] LinkParameters& link(LinkClass link) {
    return links[static_cast<std::size_t>(link == LinkClass::kSwitch ? LinkClass::kNic : link)];
  }
};

// Estimates for the device's architecture, brought to its best published GEMM rate where the catalogue has
// one.
[[nodiscard]] LawParameters default_law_parameters(const DeviceSpec& device);

}  // namespace moesim
