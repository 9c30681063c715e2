// The text that comes with the project, for `moeexec record`: made by rules, the same bytes everywhere, ours to give.
//
// It is not natural language, and what gates learn from it is not what they would learn from books. It is a mixture of
// documents of six kinds that differ in their letters, words and rules, so that experts have something to divide among
// themselves, in unequal shares, so that even loads do not come by themselves:
//   prose       sentences of a small grammar over a few hundred English words (30 % of the documents)
//   code        functions of a made-up programming language, indented (25 %)
//   table       comma-separated rows under a heading, the last column the sum of those before it (15 %)
//   arithmetic  sums, differences and products that are right, one on a line (15 %)
//   invented    sentences of words made of syllables, verb last, with endings that agree (10 %)
//   brackets    nested brackets of four sorts, closed in order (5 %)
// A document has some hundred to two thousand bytes and ends with an empty line. All is printable ASCII and line breaks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moesim {

enum class TextKind : std::uint8_t { kProse, kCode, kTable, kArithmetic, kInvented, kBrackets };
inline constexpr int kTextKinds = 6;

// As moeexec's command line and the origin of a trace name it.
inline constexpr std::string_view kBundledText = "bundled:rule-made-text";
inline constexpr std::size_t kBundledTextBytes = std::size_t{4} << 20;

// The bundled text: exactly kBundledTextBytes, the last document cut off.
[[nodiscard]] std::string bundled_text();

// One document; the same for the same number.
[[nodiscard]] std::string text_document(TextKind kind, std::uint64_t number);

}  // namespace moesim
