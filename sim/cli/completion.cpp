#include "sim/cli/completion.hpp"

#include <fmt/format.h>

#include <vector>

#include "sim/cli/usage_error.hpp"

namespace moesim {
namespace {

struct OptionWords {
  std::vector<std::string> names;   // "-o", "--output"
  std::vector<std::string> values;  // empty: files, unless it is a flag
  bool takes_value = false;
  std::string description;
};

// One command with everything that may follow it.
struct CommandWords {
  std::string path;  // "trace info"; empty for the program itself
  std::string description;
  std::vector<std::pair<std::string, std::string>> subcommands;  // with descriptions
  std::vector<OptionWords> options;
  std::vector<std::string> arguments;  // known values of positional arguments
};

OptionWords words_of(const CLI::Option& option, const Session& session) {
  OptionWords words;
  for (const std::string& name : option.get_snames()) words.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) words.names.push_back("--" + name);
  words.values = session.suggestions(&option);
  words.takes_value = !is_flag(option);
  words.description = option.get_description();
  return words;
}

void collect(const CLI::App& app, const Session& session, const std::string& path, std::vector<CommandWords>& out) {
  CommandWords words{path, app.get_description(), {}, {}, {}};
  const auto subs = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subs) words.subcommands.emplace_back(sub->get_name(), sub->get_description());
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      const std::vector<std::string>& known = session.suggestions(option);
      words.arguments.insert(words.arguments.end(), known.begin(), known.end());
    } else {
      words.options.push_back(words_of(*option, session));
    }
  }
  out.push_back(std::move(words));
  for (const CLI::App* sub : subs)
    collect(*sub, session, path.empty() ? sub->get_name() : path + " " + sub->get_name(), out);
}

std::string all_words(const CommandWords& command) {
  std::vector<std::string> words;
  for (const auto& [name, description] : command.subcommands) words.push_back(name);
  for (const OptionWords& option : command.options) words.insert(words.end(), option.names.begin(), option.names.end());
  words.insert(words.end(), command.arguments.begin(), command.arguments.end());
  return fmt::format("{}", fmt::join(words, " "));
}

// For single quotes in sh and fish alike.
std::string in_quotes(std::string_view text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return safe + "'";
}

// Values contain colons ("zoo:..."), at which bash breaks words; __ltrim_colon_completions of bash-completion mends that.
constexpr std::string_view kBashTail = R"sh(
_moesim() {
  local cur prev words cword path="" i
  if declare -F _init_completion >/dev/null; then
    _init_completion -n : || return
  else
    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
  fi
  for ((i = 1; i < cword; i++)); do
    [[ -n $(_moesim_words "${path:+$path }${words[i]}") ]] && path="${path:+$path }${words[i]}"
  done
  local values=$(_moesim_values "$path" "$prev")
  if [[ $values == "<file>" ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
  elif [[ -n $values ]]; then
    COMPREPLY=($(compgen -f -W "$values" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$(_moesim_words "$path")" -- "$cur"))
    [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- "$cur"))
  fi
  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$cur"
}
)sh";

std::string bash_functions(const std::vector<CommandWords>& commands) {
  std::string text = "_moesim_words() {\n  case \"$1\" in\n";
  for (const CommandWords& command : commands)
    text += fmt::format("    {}) echo {} ;;\n", in_quotes(command.path), in_quotes(all_words(command)));
  text += "  esac\n}\n_moesim_values() {\n  case \"$1 $2\" in\n";
  for (const CommandWords& command : commands)
    for (const OptionWords& option : command.options) {
      if (!option.takes_value) continue;
      const std::string values = option.values.empty() ? "<file>" : fmt::format("{}", fmt::join(option.values, " "));
      for (const std::string& name : option.names)
        text += fmt::format("    {}) echo {} ;;\n", in_quotes(command.path + " " + name), in_quotes(values));
    }
  return text + "  esac\n}\n";
}

std::string bash_script(const std::vector<CommandWords>& commands) {
  return "# bash completion of moesim:  source <(moesim completion bash)\n" + bash_functions(commands) +
         std::string(kBashTail) +
         "complete -o filenames -o nosort -F _moesim moesim 2>/dev/null || complete -F _moesim moesim\n";
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  return "#compdef moesim\n# zsh completion of moesim:  source <(moesim completion zsh)\n" + bash_functions(commands) +
         R"sh(
_moesim() {
  local joined="" word values
  for word in ${words[2,CURRENT-1]}; do
    [[ -n $(_moesim_words "${joined:+$joined }$word") ]] && joined="${joined:+$joined }$word"
  done
  values=$(_moesim_values "$joined" "${words[CURRENT-1]}")
  if [[ $values == "<file>" ]]; then
    _files
  elif [[ -n $values ]]; then
    compadd -- ${=values}; _files
  else
    compadd -- ${=$(_moesim_words "$joined")}; [[ $PREFIX == -* ]] || _files
  fi
}
compdef _moesim moesim
)sh";
}

std::string fish_condition(const std::string& path) {
  return path.empty() ? "__moesim_at ''" : fmt::format("__moesim_at \"{}\"", path);
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string text =
      "# fish completion of moesim:  moesim completion fish | source\n"
      "function __moesim_at\n"
      "  set -l path\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    string match -q -- '-*' $word; or set -a path $word\n"
      "  end\n"
      "  set -l depth (count (string split -n ' ' -- $argv[1]))\n"
      "  test $depth -eq 0; and test (count $path) -eq 0; and return 0\n"
      "  test $depth -gt 0; and test \"$path[1..$depth]\" = $argv[1]\n"
      "end\n";
  for (const CommandWords& command : commands) {
    const std::string condition = in_quotes(fish_condition(command.path));
    for (const auto& [name, description] : command.subcommands)
      text +=
          fmt::format("complete -c moesim -n {} -f -a {} -d {}\n", condition, in_quotes(name), in_quotes(description));
    for (const OptionWords& option : command.options) {
      text += fmt::format("complete -c moesim -n {}", condition);
      for (const std::string& name : option.names)
        text += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
      if (option.takes_value) text += " -r";
      if (!option.values.empty())
        text += fmt::format(" -a {}", in_quotes(fmt::format("{}", fmt::join(option.values, " "))));
      text += fmt::format(" -d {}\n", in_quotes(option.description));
    }
    if (!command.arguments.empty())
      text += fmt::format("complete -c moesim -n {} -a {}\n", condition,
                          in_quotes(fmt::format("{}", fmt::join(command.arguments, " "))));
  }
  return text;
}

}  // namespace

std::string completion_script(const CLI::App& app, const Session& session, Shell shell) {
  std::vector<CommandWords> commands;
  collect(app, session, "", commands);
  switch (shell) {
    case Shell::kBash: return bash_script(commands);
    case Shell::kZsh: return zsh_script(commands);
    case Shell::kFish: return fish_script(commands);
  }
  return {};
}

}  // namespace moesim
