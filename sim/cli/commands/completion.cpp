// moesim completion bash | zsh | fish

#include "sim/cli/completion.hpp"

#include <array>
#include <utility>

#include "sim/cli/commands/commands.hpp"

namespace moesim {

void add_completion(CLI::App& app, Session& session) {
  CLI::App* completion = app.add_subcommand("completion", "A completion script for your shell");
  completion->footer("source <(moesim completion bash)\nmoesim completion fish | source");
  completion->require_subcommand(1);
  constexpr std::array<std::pair<const char*, Shell>, 3> kShells = {
      {{"bash", Shell::kBash}, {"zsh", Shell::kZsh}, {"fish", Shell::kFish}}};
  for (const auto& [name, shell] : kShells) {
    CLI::App* command = completion->add_subcommand(name, std::string("For ") + name);
    session.run_when_chosen(*command, [&app, &session, shell = shell]() -> RunResult {
      MOESIM_TRY(session.emit_text(completion_script(app, session, shell)));
      return kExitOk;
    });
  }
}

}  // namespace moesim
