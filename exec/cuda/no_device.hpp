#pragma once
#include "base/error.hpp"
namespace moesim {
inline constexpr ErrorKind kNoDeviceKind = static_cast<ErrorKind>(6);
}
