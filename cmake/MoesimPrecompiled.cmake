# Headers of others, read once instead of in every file. The tests have them always: half of their time to compile goes
# there. The libraries have them only where MOESIM_PRECOMPILE_LIBRARIES asks for it, since what is precompiled is included
# everywhere and hides an #include that is missing; the release build, without them, sees to that.

set(standard_headers
  <algorithm> <array> <cmath> <cstdint> <filesystem> <functional> <map> <memory> <numeric> <optional> <set> <span> <string>
  <string_view> <utility> <vector>)
set(library_headers <fmt/format.h> <tl/expected.hpp> ${standard_headers})
set(test_headers <gmock/gmock.h> <gtest/gtest.h> ${library_headers})

# ccache takes files with a precompiled header only when told that macros of the command line are no concern in them.
function(moesim_let_ccache_use_precompiled target)
  if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache$")
    set_target_properties(${target} PROPERTIES
      CXX_COMPILER_LAUNCHER "env;CCACHE_SLOPPINESS=pch_defines,time_macros;${CMAKE_CXX_COMPILER_LAUNCHER}")
    target_compile_options(${target} PRIVATE
      $<IF:$<CXX_COMPILER_ID:GNU>,-fpch-preprocess,SHELL:-Xclang -fno-pch-timestamp>)
  endif()
endfunction()

# moesim_use_precompiled(TARGET library_headers|test_headers): TARGET, which links moesim::base or what it stands on, shares
# the precompiled headers of all others of its kind.
function(moesim_use_precompiled target headers)
  set(owner moesim_${headers})
  if(NOT TARGET ${owner})
    set(source ${PROJECT_BINARY_DIR}/generated/${headers}.cpp)
    file(CONFIGURE OUTPUT ${source} CONTENT "" @ONLY)
    add_library(${owner} OBJECT ${source})
    target_link_libraries(${owner} PRIVATE fmt::fmt tl::expected moesim_options)
    if(headers STREQUAL "test_headers")
      target_link_libraries(${owner} PRIVATE GTest::gmock)
      target_compile_options(${owner} PRIVATE -O0)
    elseif(MOESIM_FUZZ)
      target_compile_options(${owner} PRIVATE -fsanitize=fuzzer-no-link)
    endif()
    target_precompile_headers(${owner} PRIVATE ${${headers}})
    moesim_let_ccache_use_precompiled(${owner})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${owner})
  moesim_let_ccache_use_precompiled(${target})
endfunction()
