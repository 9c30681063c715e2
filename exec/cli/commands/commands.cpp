#include "exec/cli/commands/commands.hpp"

namespace moesim {

void add_execution_commands(CLI::App& app, Session& session) {
  for (auto* add : {add_run, add_execution_validate, add_record, add_bench}) add(app, session);
}

}  // namespace moesim
