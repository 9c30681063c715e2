# The three kinds of target of this project, with one set of warnings and sanitizers.

add_library(moesim_options INTERFACE)
target_compile_options(moesim_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wconversion
                            -Wno-sign-conversion>)
if(MOESIM_SANITIZE)
  set(sanitize -fsanitize=${MOESIM_SANITIZE} -fno-omit-frame-pointer)
  # g++'s ASan and UBSan together make huge code; the checks left out are the ones that cost minutes to compile.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND MOESIM_SANITIZE MATCHES "undefined")
    list(APPEND sanitize -fno-sanitize=vptr,null,alignment,object-size)
  endif()
  target_compile_options(moesim_options INTERFACE ${sanitize} -fno-sanitize-recover=all)
  target_link_options(moesim_options INTERFACE ${sanitize})
endif()

include(MoesimPrecompiled)

# moesim_compile_together(target ALL|TESTS...): eight files at a time where MOESIM_UNITY is one of those. Headers that cost seconds
# (JSON, command lines, GoogleTest) are then read and compiled once for several files. Names in unnamed namespaces must differ
# within a target; presets that compile file by file find missing includes.
function(moesim_compile_together target)
  if(NOT MOESIM_UNITY IN_LIST ARGN)
    return()
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Types of an unnamed namespace are seen by one file here too, but g++ takes the included file for a header.
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
  endif()
endfunction()

# moesim_add_library(NAME SOURCES a.cpp ... LINKS PUBLIC x PRIVATE y)  ->  target moesim_NAME, alias moesim::NAME
function(moesim_add_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(moesim_${name} STATIC ${ARG_SOURCES})
  add_library(moesim::${name} ALIAS moesim_${name})
  target_include_directories(moesim_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(moesim_${name} ${ARG_LINKS} PRIVATE moesim_options)
  moesim_compile_together(moesim_${name} ALL)
  if(MOESIM_FUZZ)  # the libraries tell a fuzzer which way an input took
    target_compile_options(moesim_${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
  if(MOESIM_PRECOMPILE_LIBRARIES)
    moesim_use_precompiled(moesim_${name} library_headers)
  endif()
endfunction()

# moesim_add_program(NAME SOURCES ... LINKS PRIVATE ...)  ->  build/bin/NAME
function(moesim_add_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} ${ARG_LINKS} PRIVATE moesim_options)
  moesim_compile_together(${name} ALL)
endfunction()

# moesim_add_test(NAME SOURCES ... LINKS ...)  ->  one GoogleTest program; its cases appear in ctest as NAME.Suite.Case
function(moesim_add_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(test_${name} ${ARG_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${ARG_LINKS} GTest::gtest_main GTest::gmock moesim_options)
  # What is tested stands in the libraries; optimising the tests themselves would double the time they take to compile.
  target_compile_options(test_${name} PRIVATE -O0)
  moesim_use_precompiled(test_${name} test_headers)
  moesim_compile_together(test_${name} ALL TESTS)
  # Recorded data may stand beside the checkout; tests that need it skip with a message where it does not.
  target_compile_definitions(test_${name} PRIVATE
    MOESIM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" MOESIM_SHARED_DIR="${PROJECT_SOURCE_DIR}/../shared")
  gtest_discover_tests(test_${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()

function(moesim_declare_embedded function)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/embedded/${function}.hpp @ONLY CONTENT
"#pragma once
#include <span>
#include \"base/embedded.hpp\"
namespace moesim {
std::span<const EmbeddedFile> @function@();
}
")
endfunction()

# moesim_embed_data(TARGET FUNCTION file...)  ->  std::span<const moesim::EmbeddedFile> moesim::FUNCTION(), declared in
# the generated header "embedded/FUNCTION.hpp", linked into TARGET. The files are in the order given.
function(moesim_embed_data target function)
  set(entries "")
  foreach(file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} content)
    get_filename_component(stem ${file} NAME_WLE)  # qwen1.5-moe.json -> qwen1.5-moe
    string(APPEND entries "  {\"${stem}\", R\"moesim~(${content})moesim~\"},\n")
  endforeach()
  set(folder ${PROJECT_BINARY_DIR}/generated)
  moesim_declare_embedded(${function})
  file(GENERATE OUTPUT ${folder}/embedded/${function}.cpp CONTENT
"#include \"embedded/${function}.hpp\"
namespace moesim {
std::span<const EmbeddedFile> ${function}() {
  static constexpr EmbeddedFile kFiles[] = {
${entries}};
  return kFiles;
}
}
")
  target_sources(${target} PRIVATE ${folder}/embedded/${function}.cpp)
  target_include_directories(${target} PRIVATE ${folder})
endfunction()

# moesim_embed_binary(TARGET FUNCTION file...)  ->  the same for files of any bytes and size: the assembler reads them, the
# compiler never sees them.
function(moesim_embed_binary target function)
  set(blobs "")
  set(symbols "")
  set(entries "")
  foreach(file IN LISTS ARGN)
    get_filename_component(stem ${file} NAME_WLE)
    string(MAKE_C_IDENTIFIER "${function}_${stem}" symbol)
    string(APPEND blobs "  \"${symbol}: .incbin \\\"${file}\\\"\\n${symbol}_end:\\n\"\n"
                        "  \".balign 8\\n${symbol}_size: .quad ${symbol}_end - ${symbol}\\n\"\n")
    string(APPEND symbols "extern const char ${symbol}[];\nextern const unsigned long ${symbol}_size;\n")
    string(APPEND entries "    {\"${stem}\", {${symbol}, ${symbol}_size}},\n")
  endforeach()
  set(folder ${PROJECT_BINARY_DIR}/generated)
  moesim_declare_embedded(${function})
  file(GENERATE OUTPUT ${folder}/embedded/${function}.cpp CONTENT
"#include \"embedded/${function}.hpp\"
__asm__(
  \".pushsection .rodata\\n\"
${blobs}  \".popsection\\n\");
extern \"C\" {
${symbols}}
namespace moesim {
std::span<const EmbeddedFile> ${function}() {
  static const EmbeddedFile kFiles[] = {
${entries}  };
  return kFiles;
}
}
")
  # An object of its own, which is made anew when a file changes.
  set_source_files_properties(${folder}/embedded/${function}.cpp TARGET_DIRECTORY ${target}
    PROPERTIES OBJECT_DEPENDS "${ARGN}" SKIP_UNITY_BUILD_INCLUSION ON)
  target_sources(${target} PRIVATE ${folder}/embedded/${function}.cpp)
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
