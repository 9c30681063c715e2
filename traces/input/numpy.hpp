// Arrays as numpy saves them (.npy), and archives of them (.npz: a zip whose members are stored or deflated).
//
// Refused with a reason: object arrays (they are pickles), big-endian data, Fortran order of more than one dimension.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "traces/input/array_view.hpp"

namespace moesim {

[[nodiscard]] bool looks_like_npy(std::string_view head);
[[nodiscard]] bool looks_like_npz(std::string_view head);  // a zip whose first member is an array

// The view points into `content`.
[[nodiscard]] Result<ArrayView> parse_npy(std::string_view content, std::string array_name, const std::string& place);

struct ZipMember {
  std::string name;
  std::string content;
};
// Every member, unpacked; an error when together they exceed `limit` bytes.
[[nodiscard]] Result<std::vector<ZipMember>> unzip(std::string_view archive, const std::string& place,
                                                   std::uint64_t limit);

}  // namespace moesim
