#include "sim/engine/replay_program.hpp"

namespace moesim {

const char* stream_name(Stream stream) {
  switch (stream) {
    case Stream::kCompute: return "compute";
    case Stream::kTp: return "tp";
    case Stream::kCp: return "cp";
    case Stream::kEp: return "ep";
    case Stream::kEsp: return "esp";
    case Stream::kDp: return "dp";
    case Stream::kPpForwardSend: return "pp-forward-send";
    case Stream::kPpForwardReceive: return "pp-forward-receive";
    case Stream::kPpBackwardSend: return "pp-backward-send";
    case Stream::kPpBackwardReceive: return "pp-backward-receive";
    case Stream::kPpForwardSendUp: return "pp-forward-send-up";
    case Stream::kPpForwardReceiveUp: return "pp-forward-receive-up";
    case Stream::kPpBackwardSendDown: return "pp-backward-send-down";
    case Stream::kPpBackwardReceiveDown: return "pp-backward-receive-down";
    case Stream::kEpInside: return "ep-inside";
  }
  return "?";
}

}  // namespace moesim
