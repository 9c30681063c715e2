#include "sim/report/display_width.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace moesim {
namespace {

struct CodeRange {
  std::uint32_t first;
  std::uint32_t last;
};

// Unicode 15, the blocks that matter for names: combining marks, zero-width characters, variation selectors.
constexpr std::array<CodeRange, 8> kNoWidth = {{{0x0300, 0x036F},
                                                {0x0483, 0x0489},
                                                {0x1AB0, 0x1AFF},
                                                {0x1DC0, 0x1DFF},
                                                {0x200B, 0x200F},
                                                {0x20D0, 0x20FF},
                                                {0xFE00, 0xFE0F},
                                                {0xFE20, 0xFE2F}}};
// East Asian wide and full-width forms, and emoji (UAX 11).
constexpr std::array<CodeRange, 10> kTwoColumns = {{{0x1100, 0x115F},
                                                    {0x2E80, 0x303E},
                                                    {0x3041, 0xA4CF},
                                                    {0xA960, 0xA97F},
                                                    {0xAC00, 0xD7A3},
                                                    {0xF900, 0xFAFF},
                                                    {0xFE30, 0xFE6F},
                                                    {0xFF00, 0xFF60},
                                                    {0x1F300, 0x1FAFF},
                                                    {0x20000, 0x3FFFD}}};

template <std::size_t N>
bool contains(const std::array<CodeRange, N>& ranges, std::uint32_t code) {
  return std::any_of(ranges.begin(), ranges.end(), [code](CodeRange r) { return code >= r.first && code <= r.last; });
}

// The code point at `at`, which moves on; a broken byte stands for itself.
std::uint32_t next_code(std::string_view text, std::size_t& at) {
  const auto lead = static_cast<std::uint8_t>(text[at++]);
  const std::size_t more = lead < 0xC0 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : lead < 0xF8 ? 3 : 0;
  if (more == 0 || at + more > text.size()) return lead;
  std::uint32_t code = lead & (0x3FU >> more);
  for (std::size_t i = 0; i < more; ++i) {
    const auto byte = static_cast<std::uint8_t>(text[at + i]);
    if ((byte >> 6) != 2) return lead;
    code = (code << 6) | (byte & 0x3FU);
  }
  at += more;
  return code;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::uint32_t code = next_code(text, at);
    width += contains(kNoWidth, code) ? 0 : contains(kTwoColumns, code) ? 2 : 1;
  }
  return width;
}

std::string padded(std::string_view text, std::size_t width, Align align) {
  const std::size_t own = display_width(text);
  const std::string blanks(width > own ? width - own : 0, ' ');
  return align == Align::kLeft ? std::string(text) + blanks : blanks + std::string(text);
}

std::string printable(std::string_view text) {
  std::string safe(text);
  for (char& c : safe)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  return safe;
}

}  // namespace moesim
