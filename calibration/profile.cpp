#include "calibration/profile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "calibration/measured_json.hpp"
#include "calibration/parameter_fields.hpp"
#include "embedded/calibration_profile_files.hpp"
#include "embedded/embedded_published_profiles.hpp"
#include "models/cluster/provenance_reader.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t kLargestFile = 16 << 20;

Result<ProfileSection> read_section(JsonReader& reader, const ParameterSection& known) {
  ProfileSection section;
  section.name = known.name;
  if (std::optional<JsonReader> parameters = reader.optional("parameters")) {
    if (!parameters->is_object()) return parameters->error("expected an object of numbers by parameter name");
    for (const ParameterField& field : known.fields) {
      if (!parameters->has(field.name)) continue;
      MOESIM_ASSIGN(const double value, parameters->required_double(field.name, field.smallest, field.largest));
      section.parameters.emplace_back(field.name, value);
    }
    MOESIM_TRY(parameters->reject_unknown_keys());
  }
  MOESIM_TRY(read_measured(reader, known.name, section.measured));
  MOESIM_ASSIGN(JsonReader provenance, reader.required("provenance"));
  MOESIM_ASSIGN(section.provenance.origin, read_origin(provenance, "origin", Origin::kUser));
  MOESIM_ASSIGN(section.provenance.source, provenance.required_string("source"));
  MOESIM_ASSIGN(section.provenance.range, provenance.string_or("range", ""));
  MOESIM_ASSIGN(section.provenance.residual, provenance.double_or("residual_median", -1, -1, 1e6));
  MOESIM_ASSIGN(section.residual_p90, provenance.double_or("residual_p90", -1, -1, 1e6));
  MOESIM_ASSIGN(const std::int64_t points, provenance.int_or("points", 0, 0, 1'000'000'000));
  section.points = static_cast<int>(points);
  MOESIM_ASSIGN(section.date, provenance.string_or("date", ""));
  MOESIM_TRY(provenance.reject_unknown_keys());
  MOESIM_TRY(reader.reject_unknown_keys());
  return section;
}

Result<Profile> read_profile(const JsonDocument& document) {
  JsonReader root = document.root();
  if (!root.is_object())
    return root.error("expected a calibration profile", "an object with 'device' and sections by law");
  Profile profile;
  MOESIM_ASSIGN(profile.device, root.required_string("device"));
  MOESIM_ASSIGN(profile.fabric, root.string_or("fabric", ""));
  for (const ParameterSection& known : parameter_sections()) {
    std::optional<JsonReader> reader = root.optional(known.name);
    if (!reader) continue;
    MOESIM_ASSIGN(ProfileSection section, read_section(*reader, known));
    profile.sections.push_back(std::move(section));
  }
  MOESIM_TRY(root.reject_unknown_keys());
  return profile;
}

const ProfileSection* find(const Profile& profile, std::string_view name) {
  for (const ProfileSection& section : profile.sections)
    if (section.name == name) return &section;
  return nullptr;
}

bool names_fabric(const ClusterView& view, const std::string& fabric) {
  const std::string word = to_lower(fabric);
  return std::any_of(view.tiers().begin(), view.tiers().end(), [&](const Tier& tier) {
    return to_lower(tier.name).find(word) != std::string::npos ||
           to_lower(tier.provenance.source).find(word) != std::string::npos;
  });
}

bool has_network(const ClusterView& view) {
  return std::any_of(view.tiers().begin(), view.tiers().end(),
                     [](const Tier& tier) { return tier.link == LinkClass::kNic; });
}

struct Match {
  const Profile* profile = nullptr;
  const ProfileSection* section = nullptr;
  bool own = false;  // of this very device
};

Match best_match(const DeviceSpec& device, const ClusterView& view, std::string_view name,
                 std::span<const Profile* const> profiles) {
  Match carried;
  for (const Profile* profile : profiles) {
    const ProfileSection* section = find(*profile, name);
    // Copies between sockets take the same way through the host bridge as those under it.
    if (section == nullptr && name == "socket") section = find(*profile, "pcie");
    if (section == nullptr) continue;
    // Start-up times are fitted together with the network's steps.
    const bool of_fabric = !profile->fabric.empty() && (name == "nic" || name == "collective" || name == "collectives");
    const bool own_node = profile->device == device.name && !has_network(view);
    if (of_fabric && !own_node && !names_fabric(view, profile->fabric)) continue;
    if (profile->device == device.name) return {profile, section, true};
    if (carried.section != nullptr) continue;
    const Result<DeviceSpec> origin = find_device(profile->device);
    if (name == "collectives") continue;  // curves of another device's groups
    // A network does not depend on the architecture of the GPU, everything else does.
    const bool related =
        (origin && origin->arch == device.arch && device.arch != DeviceArch::kOther) || (of_fabric && name == "nic");
    if (related) carried = {profile, section, false};
  }
  return carried;
}

// How much closer to its peak `device` came in the best published GEMM than `origin` did; 1 where either is
// unknown.
double best_share_ratio(const DeviceSpec& device, const DeviceSpec& origin, DType type) {
  const auto share = [type](const DeviceSpec& spec) {
    const FlopsPerSecond best = type == DType::kFp8 ? spec.best_measured_fp8_gemm : spec.best_measured_bf16_gemm;
    return spec.peak(type).value() > 0 ? best / spec.peak(type) : 0.0;
  };
  return share(device) > 0 && share(origin) > 0 ? share(device) / share(origin) : 1.0;
}

void take_measured(const Match& match, const ParameterSection& known, LawParameters& parameters) {
  if (!match.own) return;
  const MeasuredLaws& measured = match.section->measured;
  if (known.name == "gemm") parameters.measured.gemm = measured.gemm;
  if (known.name == "attention") parameters.measured.attention = measured.attention;
  if (known.name == "memory") parameters.measured.memory = measured.memory;
  if (known.name == "collectives") parameters.measured.collectives = measured.collectives;
}

void apply(const Match& match, const ParameterSection& known, const DeviceSpec& device, LawParameters& parameters) {
  for (const auto& [name, value] : match.section->parameters)
    if (const ParameterField* field = find_field(known, name)) field->set(parameters, known.link, value);
  take_measured(match, known, parameters);
  // Trees are chains inside a node: where nobody measured them they do as well as rings.
  const auto gives = [&](std::string_view wanted) {
    return std::any_of(match.section->parameters.begin(), match.section->parameters.end(),
                       [&](const auto& parameter) { return parameter.first == wanted; });
  };
  if (known.link != LinkClass::kNic && gives("ring_efficiency") && !gives("tree_efficiency"))
    parameters.link(known.link).tree_efficiency = parameters.link(known.link).ring_efficiency;
  Provenance& provenance = known.provenance(parameters, known.link);
  provenance = match.section->provenance;
  if (match.own) return;
  provenance.origin = Origin::kEstimated;
  provenance.residual = -1;
  provenance.source = fmt::format("carried over from {}: {}", match.profile->device, match.section->provenance.source);
  if (known.name != "gemm") return;
  const Result<DeviceSpec> origin = find_device(match.profile->device);
  if (!origin) return;
  parameters.gemm.math_efficiency *= best_share_ratio(device, *origin, DType::kBf16);
  parameters.gemm.math_efficiency_fp8 *= best_share_ratio(device, *origin, DType::kFp8);
}

}  // namespace

Result<Profile> parse_profile(std::string_view text, std::string name) {
  MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(text, std::move(name)));
  return read_profile(document);
}

Result<Profile> load_profile(const std::string& path) {
  MOESIM_ASSIGN(const std::string text, read_text_file(path, kLargestFile));
  return parse_profile(text, path);
}

std::string profile_json(const Profile& profile) {
  nlohmann::ordered_json root;
  root["device"] = profile.device;
  if (!profile.fabric.empty()) root["fabric"] = profile.fabric;
  for (const ProfileSection& section : profile.sections) {
    nlohmann::ordered_json& entry = root[section.name];
    for (const auto& [name, value] : section.parameters) entry["parameters"][name] = value;
    write_measured(entry, section.name, section.measured);
    nlohmann::ordered_json& provenance = entry["provenance"];
    provenance["origin"] = origin_name(section.provenance.origin);
    provenance["source"] = section.provenance.source;
    if (!section.provenance.range.empty()) provenance["range"] = section.provenance.range;
    if (section.provenance.residual >= 0) provenance["residual_median"] = section.provenance.residual;
    if (section.residual_p90 >= 0) provenance["residual_p90"] = section.residual_p90;
    if (section.points > 0) provenance["points"] = section.points;
    if (!section.date.empty()) provenance["date"] = section.date;
  }
  return with_short_arrays(root.dump(2)) + "\n";
}

std::span<const EmbeddedFile> shipped_profile_files() { return calibration_profile_files(); }
std::span<const EmbeddedFile> published_profile_files() { return embedded_published_profiles(); }

std::span<const Profile> shipped_profiles() {
  static const std::vector<Profile> profiles = [] {
    std::vector<Profile> list;
    for (const EmbeddedFile& file : calibration_profile_files()) {
      Result<Profile> profile = parse_profile(file.content, std::string(file.name));
      MOESIM_ASSERT(profile.has_value());  // embedded data; a unit test reads every file
      list.push_back(std::move(*profile));
    }
    return list;
  }();
  return profiles;
}

std::vector<LawParameters> calibrated_parameters(const ClusterView& view, std::span<const Profile> profiles) {
  std::vector<const Profile*> order;
  for (const Profile& profile : profiles) order.push_back(&profile);
  for (const Profile& profile : shipped_profiles()) order.push_back(&profile);
  std::vector<LawParameters> all;
  for (const DeviceSpec& device : view.devices()) {
    LawParameters parameters = default_law_parameters(device);
    for (const ParameterSection& known : parameter_sections()) {
      const Match match = best_match(device, view, known.name, order);
      if (match.section != nullptr) apply(match, known, device, parameters);
    }
    all.push_back(std::move(parameters));
  }
  return all;
}

CostModel make_cost_model(const ClusterView& view, std::span<const Profile> profiles) {
  return CostModel(view, calibrated_parameters(view, profiles));
}

}  // namespace moesim
