// How many columns a UTF-8 text takes on a terminal: combining marks none, CJK, Hangul and emoji two, all else one.
// Broken bytes and control characters count one. "Zürich" 6, "模型" 4, "e" + combining acute 1.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace moesim {

[[nodiscard]] std::size_t display_width(std::string_view text);

enum class Align : unsigned char { kLeft, kRight };
// Blanks up to `width` columns; a longer text is left as it is.
[[nodiscard]] std::string padded(std::string_view text, std::size_t width, Align align);

// Control characters (escape sequences of a hostile file name among them) become '?', so that data cannot drive a terminal.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace moesim
