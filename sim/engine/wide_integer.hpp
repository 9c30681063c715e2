// 128-bit integers, which ISO C++ does not name but g++ and clang have on every 64-bit target.
#pragma once

namespace moesim {

__extension__ using UInt128 = unsigned __int128;

}  // namespace moesim
