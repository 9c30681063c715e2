#include "sim/cli/commands/commands.hpp"

namespace moesim {

void add_all_commands(CLI::App& app, Session& session) {
  for (auto* add : {add_rank, add_simulate, add_explain, add_compare, add_layer, add_replay, add_sweep, add_export,
                    add_model, add_cluster, add_trace, add_calibrate, add_profile, add_validate, add_completion})
    add(app, session);
}

}  // namespace moesim
