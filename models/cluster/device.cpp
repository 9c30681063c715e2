#include "models/cluster/device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "base/unit_parser.hpp"
#include "embedded/device_catalogue_files.hpp"
#include "models/cluster/provenance_reader.hpp"

namespace moesim {
namespace {

constexpr std::array<std::pair<DeviceArch, const char*>, 11> kArchNames = {{
    {DeviceArch::kVolta, "volta"},
    {DeviceArch::kTuring, "turing"},
    {DeviceArch::kAmpere, "ampere"},
    {DeviceArch::kAda, "ada"},
    {DeviceArch::kHopper, "hopper"},
    {DeviceArch::kBlackwell, "blackwell"},
    {DeviceArch::kCdna2, "cdna2"},
    {DeviceArch::kCdna3, "cdna3"},
    {DeviceArch::kCdna4, "cdna4"},
    {DeviceArch::kCpu, "cpu"},
    {DeviceArch::kOther, "other"},
}};

Result<DeviceArch> read_arch(JsonReader& reader) {
  MOESIM_ASSIGN(const std::string word, reader.string_or("arch", "other"));
  std::vector<std::string> names;
  for (const auto& [arch, name] : kArchNames) {
    if (to_lower(word) == name) return arch;
    names.emplace_back(name);
  }
  return reader.error_at("arch", fmt::format("unknown architecture '{}'{}", word, did_you_mean(word, names)),
                         fmt::format("one of {}", fmt::join(names, ", ")));
}

// "memory" is a size, or {"size", "origin", "source"} where its provenance differs from the rest of the device.
Status read_memory(JsonReader& reader, DeviceSpec& device) {
  MOESIM_ASSIGN(JsonReader memory, reader.required("memory"));
  if (memory.is_object()) {
    MOESIM_ASSIGN(device.memory, memory.required_quantity<Bytes>("size", parse_bytes));
    MOESIM_ASSIGN(device.memory_provenance.origin, read_origin(memory, "origin", Origin::kUser));
    MOESIM_ASSIGN(device.memory_provenance.source, memory.string_or("source", ""));
    MOESIM_TRY(memory.reject_unknown_keys());
  } else {
    MOESIM_ASSIGN(device.memory, reader.required_quantity<Bytes>("memory", parse_bytes));
    device.memory_provenance = device.provenance;
  }
  if (device.memory.count() <= 0) return memory.error("the memory of a device must be larger than zero");
  return {};
}

Status read_peaks(JsonReader& reader, DeviceSpec& device) {
  MOESIM_ASSIGN(JsonReader peaks, reader.required("dense_peak"));
  if (!peaks.is_object())
    return peaks.error("expected an object of rates by number format",
                       R"(like {"bf16": "989TFLOPS", "fp8": "1979TFLOPS"})");
  for (const std::string& format : peaks.keys()) {
    const Result<DType> type = parse_dtype(format);
    if (!type) return peaks.error_at(format, type.error().what);
    MOESIM_ASSIGN(const FlopsPerSecond rate, peaks.required_quantity<FlopsPerSecond>(format, parse_flops_per_second));
    if (rate.value() <= 0)
      return peaks.error_at(format, "a peak rate must be larger than zero", "leave the format out");
    device.set_peak(*type, rate);
  }
  if (peaks.keys().empty()) return peaks.error("a device needs the peak rate of at least one number format");
  return {};
}

Status read_best_measured(JsonReader& reader, DeviceSpec& device) {
  std::optional<JsonReader> best = reader.optional("best_measured");
  if (!best) return {};
  if (!best->is_object())
    return best->error("expected an object", R"(like {"bf16_gemm": "794TFLOPS", "source": "..."})");
  MOESIM_ASSIGN(device.best_measured_bf16_gemm,
                best->quantity_or("bf16_gemm", FlopsPerSecond(), parse_flops_per_second));
  MOESIM_ASSIGN(device.best_measured_fp8_gemm, best->quantity_or("fp8_gemm", FlopsPerSecond(), parse_flops_per_second));
  best->ignore({"source"});
  return best->reject_unknown_keys();
}

struct Catalogue {
  std::vector<DeviceSpec> devices;
  std::map<std::string, std::size_t, std::less<>> by_name;  // names and aliases in lower case
};

Result<Catalogue> read_catalogue() {
  Catalogue catalogue;
  for (const EmbeddedFile& file : device_catalogue_files()) {
    MOESIM_ASSIGN(const JsonDocument document, JsonDocument::parse_text(file.content, std::string(file.name)));
    JsonReader root = document.root();
    MOESIM_ASSIGN(const JsonReader list, root.required("devices"));
    MOESIM_ASSIGN(const std::vector<JsonReader> entries, list.elements());
    for (JsonReader entry : entries) {
      MOESIM_ASSIGN(DeviceSpec device, read_device(entry));
      std::vector<std::string> names = {device.name};
      MOESIM_ASSIGN(const JsonReader aliases, entry.required("aliases"));
      MOESIM_ASSIGN(const std::vector<JsonReader> alias_list, aliases.elements());
      for (const JsonReader& alias : alias_list) {
        MOESIM_ASSIGN(std::string text, alias.as_string());
        names.push_back(std::move(text));
      }
      for (const std::string& name : names)
        if (!catalogue.by_name.emplace(to_lower(name), catalogue.devices.size()).second)
          return entry.error(fmt::format("the name '{}' is taken", name));
      catalogue.devices.push_back(std::move(device));
    }
  }
  return catalogue;
}

const Catalogue& catalogue() {
  static const Catalogue instance = [] {
    Result<Catalogue> read = read_catalogue();
    MOESIM_ASSERT(read.has_value());  // embedded data; a unit test reads every entry
    return std::move(*read);
  }();
  return instance;
}

}  // namespace

FlopsPerSecond DeviceSpec::peak(DType type) const { return peaks_[static_cast<std::size_t>(type)]; }
DType DeviceSpec::computing_format(DType type) const {
  constexpr std::array<DType, 6> kWider = {DType::kFp4,  DType::kFp8,  DType::kBf16,
                                           DType::kFp16, DType::kTf32, DType::kFp32};
  if (peak(type).value() > 0) return type;
  if (type == DType::kTf32) return DType::kFp32;
  const auto* start = std::find(kWider.begin(), kWider.end(), type);
  for (const auto* wider = start; wider != kWider.end(); ++wider)
    if (peak(*wider).value() > 0) return *wider;
  return DType::kFp32;
}
void DeviceSpec::set_peak(DType type, FlopsPerSecond rate) { peaks_[static_cast<std::size_t>(type)] = rate; }

const char* arch_name(DeviceArch arch) {
  for (const auto& [value, name] : kArchNames)
    if (value == arch) return name;
  return "?";
}

Result<DeviceSpec> read_device(JsonReader reader) {
  if (!reader.is_object()) return reader.error("expected a device: a catalogue name or an object");
  DeviceSpec device;
  MOESIM_ASSIGN(device.name, reader.required_string("name"));
  if (trim(device.name).empty()) return reader.error_at("name", "a device needs a name");
  MOESIM_ASSIGN(device.provenance,
                read_provenance(reader, "provenance", Provenance{Origin::kUser, reader.place(), -1, {}}));
  MOESIM_ASSIGN(device.vendor, reader.string_or("vendor", ""));
  MOESIM_ASSIGN(device.arch, read_arch(reader));
  MOESIM_TRY(read_memory(reader, device));
  MOESIM_ASSIGN(device.memory_bandwidth,
                reader.required_quantity<BytesPerSecond>("memory_bandwidth", parse_bytes_per_second));
  if (device.memory_bandwidth.value() <= 0)
    return reader.error_at("memory_bandwidth", "the memory bandwidth must be larger than zero");
  MOESIM_ASSIGN(device.l2_cache, reader.quantity_or("l2_cache", Bytes(), parse_bytes));
  MOESIM_ASSIGN(const std::int64_t units, reader.required_int("compute_units", 1, 1'000'000));
  device.compute_units = static_cast<int>(units);
  MOESIM_ASSIGN(device.boost_clock, reader.quantity_or("boost_clock", Hertz(), parse_hertz));
  MOESIM_TRY(read_peaks(reader, device));
  MOESIM_TRY(read_best_measured(reader, device));
  MOESIM_ASSIGN(device.note, reader.string_or("note", ""));
  reader.ignore({"aliases"});  // of the catalogue; a cluster file may copy an entry as it stands
  MOESIM_TRY(reader.reject_unknown_keys());
  return device;
}

Result<DeviceSpec> find_device(std::string_view name) {
  const auto found = catalogue().by_name.find(to_lower(trim(name)));
  if (found != catalogue().by_name.end()) return catalogue().devices[found->second];
  std::vector<std::string> known;
  for (const auto& [spelling, index] : catalogue().by_name) known.push_back(spelling);
  return invalid_input(fmt::format("unknown device '{}'{}", name, did_you_mean(name, known)), {},
                       fmt::format("known: {}; or describe the device in full", fmt::join(device_names(), ", ")));
}

std::vector<std::string> device_names() {
  std::vector<std::string> names;
  for (const DeviceSpec& device : catalogue().devices) names.push_back(device.name);
  return names;
}

}  // namespace moesim
