// An SVG as a PNG, drawn by librsvg and cairo. They are looked for when they are first needed, so that moesim starts as fast and builds
// and runs without them (scripts/setup installs them, and a font: without one text is left out).
//
//   png_of("<svg width=\"200\" height=\"50\" ...", 2)  ->  a picture of 400 x 100 pixels; the same bytes for the same SVG
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

// Whether there are libraries to draw it; the error names what to install.
[[nodiscard]] Status check_png();
[[nodiscard]] Result<std::string> png_of(std::string_view svg, double scale);

}  // namespace moesim
