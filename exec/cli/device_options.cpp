#include "exec/cli/device_options.hpp"

namespace moesim {
namespace {

DeviceChoice choice_of(const DeviceOptions& options) {
  return {options.device, options.transport == "nccl" ? DeviceTransport::kNccl : DeviceTransport::kStaged};
}

}  // namespace

void add_device_options(CLI::App& command, Session& session, DeviceOptions& options) {
  constexpr const char* kGroup = "Hardware";
  session.add_choice(command, "--backend", options.backend, {"cpu", "cuda"}, "What the ranks compute with")
      ->capture_default_str()
      ->group(kGroup);
  command.add_option("--device", options.device, "With cuda: this GPU for all ranks, instead of the machine's in turn")
      ->option_text("N")
      ->check(CLI::Range(0, 1024))
      ->group(kGroup);
  session
      .add_choice(command, "--device-transport", options.transport, {"staged", "nccl"},
                  "With cuda: through pinned host memory, or from GPU to GPU; nccl needs a GPU for each rank")
      ->capture_default_str()
      ->group(kGroup);
}

Status check_device(const DeviceOptions& options) {
  const DeviceOptions none;
  if (options.backend == "cuda") return check_cuda(choice_of(options));
  if (options.device != none.device || options.transport != none.transport)
    return usage_error("--device and --device-transport are for --backend cuda",
                       "add --backend cuda, or leave them out");
  return {};
}

Result<RankHardware> RankHardware::open(const DeviceOptions& options, Communicator& host, const CommOptions& comm) {
  RankHardware hardware(host);
  if (options.backend == "cuda") {
    MOESIM_ASSIGN(hardware.device_, open_cuda(choice_of(options), host, comm));
  } else {
    hardware.cpu_ = make_cpu_backend();
  }
  return hardware;
}

}  // namespace moesim
