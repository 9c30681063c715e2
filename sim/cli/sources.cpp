#include "sim/cli/sources.hpp"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "base/text.hpp"
#include "models/cluster/cluster_source.hpp"
#include "models/shape/model_source.hpp"
#include "traces/bundled.hpp"
#include "traces/formats/format.hpp"

namespace moesim {
namespace {

constexpr std::string_view kShipped = "shipped:";
constexpr std::string_view kPublished = "published:";

std::vector<std::string> prefixed(std::string_view prefix, const std::vector<std::string>& names) {
  std::vector<std::string> words;
  for (const std::string& name : names) words.push_back(std::string(prefix) + name);
  return words;
}

// CLI11 asks for a message, empty when all is well.
std::string check_named(const std::string& value) { return value.empty() ? "the name is empty" : ""; }

}  // namespace

CLI::Option* add_model_source(CLI::App& command, Session& session, const std::string& name, std::string& target) {
  CLI::Option* option =
      command.add_option(name, target, "zoo:NAME, a Hugging Face config.json, its folder, or a model file")
          ->option_text("MODEL")
          ->check(check_named);
  session.suggest(option, prefixed("zoo:", zoo_names()));
  return option;
}

CLI::Option* add_cluster_source(CLI::App& command, Session& session, const std::string& name, std::string& target) {
  CLI::Option* option = command.add_option(name, target, "preset:NAME or a cluster file (docs/inputs-cluster.md)")
                            ->option_text("CLUSTER")
                            ->check(check_named);
  session.suggest(option, prefixed("preset:", preset_names()));
  return option;
}

namespace {

CLI::Option* add_recording(CLI::App& command, Session& session, const std::string& name, std::string& target,
                           const std::string& description, std::vector<std::string> further) {
  CLI::Option* option = command.add_option(name, target, description)->option_text("TRACE")->check(check_named);
  for (const BundledTrace& trace : bundled_traces()) further.push_back(fmt::format("{}{}", kBundledPrefix, trace.name));
  session.suggest(option, std::move(further));
  return option;
}

constexpr const char* kTraceSources = "A trace of any known format: a file, a folder, - or bundled:NAME";

}  // namespace

CLI::Option* add_trace_source(CLI::App& command, Session& session, const std::string& name, std::string& target) {
  return add_recording(command, session, name, target, kTraceSources, {});
}

CLI::Option* add_routing_source(CLI::App& command, Session& session, const std::string& name, std::string& target) {
  return add_recording(
      command, session, name, target,
      fmt::format("{}; or prior:LAW[:NUMBER], a skew to be expected without one (docs/traces.md)", kTraceSources),
      {"prior:zipf:1", "prior:dirichlet:1", "prior:hot:0.3"});
}

CLI::Option* add_profile_option(CLI::App& command, std::vector<std::string>& target) {
  // One value for each --profile, so that arguments after it stay arguments.
  return command
      .add_option("--profile", target,
                  "Calibration profile to predict with (moesim calibrate); again for more, the first counts")
      ->option_text("FILE")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(check_named);
}

CLI::Option* add_profile_argument(CLI::App& command, Session& session, const std::string& name, std::string& target) {
  CLI::Option* option = command.add_option(name, target, "A profile of moesim calibrate, or shipped:NAME")
                            ->option_text(name == "profile" ? "PROFILE"
                                          : name == "first" ? "FIRST"
                                                            : "SECOND")
                            ->required();
  std::vector<std::string> names;
  for (const EmbeddedFile& file : shipped_profile_files()) names.emplace_back(file.name);
  session.suggest(option, prefixed(kShipped, names));
  return option;
}

Result<Profile> load_named_profile(const std::string& name) {
  const bool published = name.starts_with(kPublished);
  if (!published && !name.starts_with(kShipped)) return load_profile(name);
  const std::string_view prefix = published ? kPublished : kShipped;
  const std::string wanted = name.substr(prefix.size());
  std::vector<std::string> known;
  for (const EmbeddedFile& file : published ? published_profile_files() : shipped_profile_files()) {
    if (wanted == file.name) return parse_profile(file.content, name);
    known.emplace_back(file.name);
  }
  return usage_error(fmt::format("no profile is called '{}'{}", name, did_you_mean(wanted, known)),
                     fmt::format("{} are {}", prefix.substr(0, prefix.size() - 1), fmt::join(known, ", ")));
}

Result<std::vector<Profile>> load_profiles(const std::vector<std::string>& names) {
  std::vector<Profile> profiles;
  for (const std::string& name : names) {
    MOESIM_ASSIGN(Profile profile, load_named_profile(name));
    profiles.push_back(std::move(profile));
  }
  return profiles;
}

std::vector<std::string> notes_of_other_devices(const std::vector<std::string>& names,
                                                std::span<const Profile> profiles, const std::set<std::string>& devices,
                                                std::string_view place) {
  std::vector<std::string> notes;
  for (std::size_t i = 0; i < profiles.size(); ++i)
    if (!devices.contains(profiles[i].device))
      notes.push_back(fmt::format("{} is a profile of {}, which is not in {}; at most estimates follow from it",
                                  names[i], profiles[i].device, place));
  return notes;
}

std::set<std::string> device_names(const ClusterView& view) {
  std::set<std::string> names;
  for (const DeviceSpec& device : view.devices()) names.insert(device.name);
  return names;
}

CLI::Option* add_nodes(CLI::App& command, int& target) {
  return command.add_option("--nodes", target, "Nodes of the cluster; without it as many as its file says")
      ->option_text("N")
      ->check(CLI::Range(1, 100'000));
}

void add_import_options(CLI::App& command, Session& session, ImportOptions& options) {
  constexpr const char* kGroup = "Reading the trace";
  std::vector<std::string> formats;
  for (const TraceFormat* format : trace_formats()) formats.emplace_back(format->name);
  session.add_choice(command, "--input-format", options.format, std::move(formats), "The only format to be tried")
      ->group(kGroup);
  const auto number = [&](const char* name, auto& target, const char* description) {
    command.add_option(name, target, description)->option_text("N")->check(CLI::Range(1, 1'000'000))->group(kGroup);
  };
  number("--top-k", options.top_k, "Experts per token, where the trace does not say or says it wrong");
  number("--sequence-ranks", options.sequence_ranks,
         "Source ranks that the sequences of a recording without ranks are dealt to; 8");
  number("--sequences-per-iteration", options.sequences_per_iteration,
         "Sequences of such a recording that are one iteration; all of them");
  number("--expert-parallel", options.expert_parallel,
         "Of Megatron's recording: ranks that share one copy of all experts; all");
}

Status check_no_import_options(const ImportOptions& options) {
  if (options == ImportOptions{}) return {};
  return usage_error(
      "--input-format, --top-k, --sequence-ranks, --sequences-per-iteration and --expert-parallel say how a trace is "
      "read, and there is none",
      "name a trace with --trace, or leave them out");
}

}  // namespace moesim
