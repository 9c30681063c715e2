#include "calibration/parameter_fields.hpp"

#include <array>

namespace moesim {
namespace {

double to_number(double value) { return value; }
double to_number(Seconds value) { return value.value(); }
void assign(double& target, double value) { target = value; }
void assign(Seconds& target, double value) { target = Seconds(value); }

template <auto Law, auto Member>
constexpr ParameterField law_field(std::string_view name, double smallest, double largest) {
  return {name, smallest, largest, [](const LawParameters& p, LinkClass) { return to_number((p.*Law).*Member); },
          [](LawParameters& p, LinkClass, double value) { assign((p.*Law).*Member, value); }};
}

template <auto Member>
constexpr ParameterField link_field(std::string_view name, double smallest, double largest) {
  return {name, smallest, largest,
          [](const LawParameters& p, LinkClass link) { return to_number(p.link(link).*Member); },
          [](LawParameters& p, LinkClass link, double value) { assign(p.link(link).*Member, value); }};
}

template <auto Member>
Provenance& law_provenance(LawParameters& parameters, LinkClass) {
  return parameters.*Member;
}
Provenance& link_provenance(LawParameters& parameters, LinkClass link) {
  return parameters.link_provenance[static_cast<std::size_t>(link)];
}

constexpr auto kGemm = &LawParameters::gemm;
constexpr std::array kGemmFields = {
    law_field<kGemm, &GemmParameters::math_efficiency>("math_efficiency", 0.05, 1),
    law_field<kGemm, &GemmParameters::math_efficiency_fp8>("math_efficiency_fp8", 0.05, 1),
    law_field<kGemm, &GemmParameters::math_efficiency_fp32>("math_efficiency_fp32", 0.05, 1),
    law_field<kGemm, &GemmParameters::sustained>("sustained", 0.3, 1),
    law_field<kGemm, &GemmParameters::sustained_after>("sustained_after_s", 1e-6, 1),
    law_field<kGemm, &GemmParameters::ramp_bytes>("ramp_bytes", 0, 8192),
    law_field<kGemm, &GemmParameters::wave_loss>("wave_loss", 0, 1),
    law_field<kGemm, &GemmParameters::load_bytes_per_clock>("load_bytes_per_clock", 8, 1024),
    law_field<kGemm, &GemmParameters::epilogue_exposed>("epilogue_exposed", 0, 1),
    law_field<kGemm, &GemmParameters::memory_efficiency>("memory_efficiency", 0.1, 1),
    law_field<kGemm, &GemmParameters::overhead>("overhead_s", 0, 1e-3)};

constexpr auto kAttention = &LawParameters::attention;
constexpr std::array kAttentionFields = {
    law_field<kAttention, &AttentionParameters::forward_efficiency>("forward_efficiency", 0.02, 1),
    law_field<kAttention, &AttentionParameters::backward_efficiency>("backward_efficiency", 0.02, 1),
    law_field<kAttention, &AttentionParameters::wide_head_factor>("wide_head_factor", 0.2, 1.2),
    law_field<kAttention, &AttentionParameters::forward_tail>("forward_tail", 0, 2),
    law_field<kAttention, &AttentionParameters::backward_tail>("backward_tail", 0, 2),
    law_field<kAttention, &AttentionParameters::memory_efficiency>("memory_efficiency", 0.1, 1),
    law_field<kAttention, &AttentionParameters::overhead>("overhead_s", 0, 1e-3)};

constexpr auto kMemory = &LawParameters::memory;
constexpr std::array kMemoryFields = {law_field<kMemory, &MemoryParameters::efficiency>("efficiency", 0.05, 1),
                                      law_field<kMemory, &MemoryParameters::row_ramp_bytes>("row_ramp_bytes", 0, 65536),
                                      law_field<kMemory, &MemoryParameters::overhead>("overhead_s", 0, 1e-3)};

constexpr std::array kLaunchFields = {
    law_field<&LawParameters::launch, &LaunchParameters::issue_interval>("issue_interval_s", 0, 1e-2),
    law_field<&LawParameters::launch, &LaunchParameters::operation>("operation_s", 0, 1e-2)};

constexpr auto kCollective = &LawParameters::collective;
constexpr std::array kCollectiveFields = {
    law_field<kCollective, &CollectiveParameters::base>("base_s", 0, 1e-2),
    law_field<kCollective, &CollectiveParameters::switch_base>("switch_base_s", 0, 1e-2)};

constexpr std::array kOverlapFields = {
    law_field<&LawParameters::overlap, &OverlapParameters::units_held>("units_held", 0, 0.99)};

constexpr std::array kLinkFields = {
    link_field<&LinkParameters::ring_efficiency>("ring_efficiency", 0.02, 1),
    link_field<&LinkParameters::tree_efficiency>("tree_efficiency", 0.02, 1),
    link_field<&LinkParameters::all_to_all_efficiency>("all_to_all_efficiency", 0.02, 1),
    link_field<&LinkParameters::one_way_efficiency>("one_way_efficiency", 0.02, 1),
    link_field<&LinkParameters::switch_efficiency>("switch_efficiency", 0.02, 1),
    link_field<&LinkParameters::ring_step>("ring_step_s", 0, 1e-2),
    link_field<&LinkParameters::tree_step>("tree_step_s", 0, 1e-2),
    link_field<&LinkParameters::peer_step>("peer_step_s", 0, 1e-2),
    link_field<&LinkParameters::pipeline_step>("pipeline_step_s", 0, 1e-2),
    link_field<&LinkParameters::quick_share>("quick_share", 0.01, 1),
    link_field<&LinkParameters::long_step>("long_step_s", 0, 1e-2)};

const std::array kSections = {
    ParameterSection{"gemm", LinkClass::kOther, kGemmFields, law_provenance<&LawParameters::gemm_provenance>},
    ParameterSection{"attention", LinkClass::kOther, kAttentionFields,
                     law_provenance<&LawParameters::attention_provenance>},
    ParameterSection{"memory", LinkClass::kOther, kMemoryFields, law_provenance<&LawParameters::memory_provenance>},
    ParameterSection{"launch", LinkClass::kOther, kLaunchFields, law_provenance<&LawParameters::launch_provenance>},
    ParameterSection{"collective", LinkClass::kOther, kCollectiveFields,
                     law_provenance<&LawParameters::collective_provenance>},
    ParameterSection{"overlap", LinkClass::kOther, kOverlapFields, law_provenance<&LawParameters::overlap_provenance>},
    ParameterSection{
        "collectives", LinkClass::kOther, {}, law_provenance<&LawParameters::measured_collectives_provenance>},
    ParameterSection{"nvlink", LinkClass::kNvlink, kLinkFields, link_provenance},
    ParameterSection{"xgmi", LinkClass::kXgmi, kLinkFields, link_provenance},
    ParameterSection{"pcie", LinkClass::kPcie, kLinkFields, link_provenance},
    ParameterSection{"nic", LinkClass::kNic, kLinkFields, link_provenance},
    ParameterSection{"socket", LinkClass::kSocket, kLinkFields, link_provenance},
    ParameterSection{"other", LinkClass::kOther, kLinkFields, link_provenance}};

}  // namespace

std::span<const ParameterSection> parameter_sections() { return kSections; }

const ParameterSection* find_section(std::string_view name) {
  for (const ParameterSection& section : kSections)
    if (section.name == name) return &section;
  return nullptr;
}

const ParameterField* find_field(const ParameterSection& section, std::string_view name) {
  for (const ParameterField& field : section.fields)
    if (field.name == name) return &field;
  return nullptr;
}

}  // namespace moesim
