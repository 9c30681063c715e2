#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "base/json_reader.hpp"
#include "base/text.hpp"
#include "models/cluster/device.hpp"

namespace moesim {
namespace {

using testing::HasSubstr;

DeviceSpec device(std::string_view name) {
  Result<DeviceSpec> found = find_device(name);
  EXPECT_TRUE(found) << name << ": " << (found ? "" : found.error().what);
  return found ? *found : DeviceSpec();
}

TEST(Devices, H100) {
  const DeviceSpec h100 = device("h100");
  EXPECT_EQ(h100.name, "H100-SXM5-80GB");
  EXPECT_EQ(h100.arch, DeviceArch::kHopper);
  EXPECT_EQ(h100.memory.count(), 84932978278);  // 79.1 x 2^30 = 84932978278.4
  EXPECT_EQ(h100.memory_bandwidth.value(), 3352e9);
  EXPECT_EQ(h100.compute_units, 132);
  EXPECT_EQ(h100.boost_clock.value(), 1830e6);
  EXPECT_EQ(h100.l2_cache.count(), 50'000'000);
  EXPECT_DOUBLE_EQ(h100.peak(DType::kBf16).value(), 989.4e12);
  EXPECT_DOUBLE_EQ(h100.peak(DType::kFp8).value(), 1978.9e12);
  EXPECT_EQ(h100.peak(DType::kFp4).value(), 0);
  EXPECT_DOUBLE_EQ(h100.best_measured_bf16_gemm.value(), 794.5e12);
  EXPECT_EQ(h100.provenance.origin, Origin::kDatasheet);
  EXPECT_EQ(h100.memory_provenance.origin, Origin::kMeasured);
}

TEST(Devices, ComputeInALikeOrWiderFormatWhereTheyLackOne) {
  EXPECT_EQ(device("V100").computing_format(DType::kBf16), DType::kFp16);
  EXPECT_EQ(device("A100").computing_format(DType::kFp8), DType::kBf16);
  EXPECT_EQ(device("H100").computing_format(DType::kFp8), DType::kFp8);
}

TEST(Devices, FormatsADeviceLacksAreZero) {
  EXPECT_EQ(device("V100").peak(DType::kBf16).value(), 0);
  EXPECT_EQ(device("V100").peak(DType::kFp16).value(), 125e12);
  EXPECT_EQ(device("2080Ti").peak(DType::kBf16).value(), 0);
  EXPECT_EQ(device("A100").peak(DType::kFp8).value(), 0);
}

TEST(Devices, AliasesIgnoreCase) {
  const std::pair<const char*, const char*> kAliases[] = {
      {"A100", "A100-SXM4-80GB"},    {"a100-40gb", "A100-SXM4-40GB"},
      {"H200", "H200-SXM-141GB"},    {"h800", "H800-SXM5-80GB"},
      {"B200", "B200-SXM-180GB"},    {"gb200", "GB200-NVL72"},
      {"mi300x", "MI300X"},          {"2080ti", "RTX2080Ti-11GB"},
      {"3090", "RTX3090-24GB"},      {"RTX 4090", "RTX4090-24GB"},
      {"v100", "V100-SXM2-32GB"},    {"H100-96GB-HBM2e-500W", "H100-SXM5-96GB"},
      {"  H100 ", "H100-SXM5-80GB"}, {"A100-SXM4-40/80GB", "A100-SXM4-40GB"}};
  for (const auto& [alias, name] : kAliases) EXPECT_EQ(device(alias).name, name) << alias;
}

TEST(Devices, EveryEntryIsPlausible) {
  ASSERT_GE(device_names().size(), 27U);
  for (const std::string& name : device_names()) {
    SCOPED_TRACE(name);
    const DeviceSpec entry = device(name);
    EXPECT_EQ(entry.name, name);
    EXPECT_FALSE(entry.provenance.source.empty());
    EXPECT_FALSE(entry.memory_provenance.source.empty());
    EXPECT_NE(entry.arch, DeviceArch::kOther);
    // Tensor formats of half the width are not slower, and a measured GEMM does not beat its peak.
    EXPECT_GE(entry.peak(DType::kFp16), entry.peak(DType::kFp32));
    if (entry.peak(DType::kFp8).value() > 0) {
      EXPECT_GE(entry.peak(DType::kFp8), entry.peak(DType::kBf16));
    }
    EXPECT_LE(entry.best_measured_bf16_gemm, entry.peak(DType::kBf16));
    EXPECT_LE(entry.best_measured_fp8_gemm, entry.peak(DType::kFp8));
  }
}

TEST(Devices, UnknownNameSuggestsTheClosest) {
  const auto found = find_device("H10O-SXM5-80GB");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind, ErrorKind::kInvalidInput);
  EXPECT_THAT(found.error().what, HasSubstr("did you mean 'h100-sxm5-80gb'"));
  EXPECT_THAT(found.error().hint, HasSubstr("MI300X"));
  EXPECT_FALSE(find_device(""));
}

// One column of a recorded table, by the name in its first line.
std::vector<std::string> column(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string_view> head = split(trim(line), ',');
  const auto at = static_cast<std::size_t>(std::find(head.begin(), head.end(), wanted) - head.begin());
  std::vector<std::string> values;
  while (std::getline(file, line)) {
    std::vector<std::string> fields(1);
    bool quoted = false;
    for (const char c : line) {
      if (c == '"')
        quoted = !quoted;
      else if (c == ',' && !quoted)
        fields.emplace_back();
      else
        fields.back() += c;
    }
    if (at < fields.size()) values.push_back(fields[at]);
  }
  return values;
}

TEST(Devices, RecordedTablesNameKnownDevices) {
  const std::string folder = std::string(MOESIM_SHARED_DIR) + "/data/validation/";
  if (!std::ifstream(folder + "hardware.csv")) GTEST_SKIP() << "no recorded tables in " << folder;
  const std::vector<std::string> kinds = column(folder + "hardware.csv", "kind");
  const std::vector<std::string> names = column(folder + "hardware.csv", "name");
  const std::vector<std::string> memory = column(folder + "hardware.csv", "mem_GB");
  const std::vector<std::string> bandwidth = column(folder + "hardware.csv", "mem_bw_GBps");
  const std::vector<std::string> units = column(folder + "hardware.csv", "sm_or_cu");
  int checked = 0;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (kinds[i] != "gpu") continue;
    const DeviceSpec entry = device(names[i]);
    ++checked;
    EXPECT_DOUBLE_EQ(entry.memory_bandwidth.value(), std::stod(bandwidth[i]) * 1e9) << names[i];
    EXPECT_EQ(entry.compute_units, std::stoi(units[i])) << names[i];
    // What can be allocated lies a little below the vendor's figure read as GiB, and not far below it read as GB.
    EXPECT_LE(entry.memory.value(), std::stod(memory[i]) * 1073741824.0) << names[i];
    EXPECT_GE(entry.memory.value(), std::stod(memory[i]) * 0.99e9) << names[i];
  }
  EXPECT_EQ(checked, 27);
  for (const char* table : {"training_throughput.csv", "collectives.csv", "gemm.csv", "moe_layer.csv"}) {
    const std::vector<std::string> hardware = column(folder + table, "hardware");
    EXPECT_FALSE(hardware.empty()) << table;
    for (const std::string& name : std::set<std::string>(hardware.begin(), hardware.end()))
      EXPECT_TRUE(find_device(name)) << name;
  }
}

std::string complaint_about(const std::string& text) {
  auto document = JsonDocument::parse_text(text, "device.json");
  EXPECT_TRUE(document);
  const auto read = read_device(document->root());
  return read ? std::string() : read.error().what + " | " + read.error().where;
}

TEST(Devices, InFull) {
  const std::string kText = R"({"name": "Own-1", "memory": "40GB", "memory_bandwidth": "1TB/s", "compute_units": 64,
                                "dense_peak": {"bf16": "100TFLOPS"}})";
  auto document = JsonDocument::parse_text(kText, "device.json");
  ASSERT_TRUE(document);
  const auto read = read_device(document->root());
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_EQ(read->memory.count(), 40'000'000'000);
  EXPECT_EQ(read->provenance.origin, Origin::kUser);
  EXPECT_EQ(read->memory_provenance.origin, Origin::kUser);

  const auto change = [&](std::string_view from, std::string_view to) {
    std::string text = kText;
    return complaint_about(text.replace(text.find(from), from.size(), to));
  };
  EXPECT_EQ(change("\"40GB\"", "40"), "'40' has no unit | device.json#/memory");
  EXPECT_THAT(change("\"40GB\"", "\"0GB\""), HasSubstr("larger than zero"));
  EXPECT_THAT(change("1TB/s", "0TB/s"), HasSubstr("larger than zero | device.json#/memory_bandwidth"));
  EXPECT_THAT(change("100TFLOPS", "0TFLOPS"), HasSubstr("larger than zero | device.json#/dense_peak/bf16"));
  EXPECT_THAT(change("\"bf16\"", "\"bf17\""), HasSubstr("did you mean 'bf16'"));
  EXPECT_THAT(change("64", "0"), HasSubstr("outside the range"));
  EXPECT_THAT(change("\"compute_units\"", "\"arch\": \"hoper\", \"compute_units\""),
              HasSubstr("did you mean 'hopper'"));
  EXPECT_THAT(change("\"Own-1\"", "\" \""), HasSubstr("needs a name"));
  EXPECT_THAT(change("{\"bf16\": \"100TFLOPS\"}", "{}"), HasSubstr("at least one number format"));
  EXPECT_THAT(change("{\"bf16\": \"100TFLOPS\"}", "\"100TFLOPS\""), HasSubstr("expected an object of rates"));
  EXPECT_THAT(change("\"memory\":", "\"memroy\": 1, \"memory\":"),
              HasSubstr("unknown key 'memroy' (did you mean 'memory'?)"));
}

}  // namespace
}  // namespace moesim
