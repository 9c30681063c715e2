// SHA-256 (FIPS 180-4), so that an answer names its inputs in a way that `sha256sum` can check. About 200 MB/s.
//
// sha256_hex("abc") = "ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad" without the blanks.
#pragma once

#include <string>
#include <string_view>

namespace moesim {

[[nodiscard]] std::string sha256_hex(std::string_view content);

}  // namespace moesim
