# Looks for what CUDA sources need. Included by the topmost CMakeLists.txt, because a language is enabled for a folder and
# those below it. MOESIM_CUDA decides:
#   AUTO  a compiler that is found is used; without one the build goes on and says so
#   ON    a compiler that is not found, or not usable, is an error
#   OFF   nothing is looked for
# Sets MOESIM_CUDA_FOUND, and where it is true: the language CUDA, the targets CUDA::* of FindCUDAToolkit, the architectures
# 80 and 90 unless CMAKE_CUDA_ARCHITECTURES names others, and C++17 for .cu files.

set(MOESIM_CUDA AUTO CACHE STRING "CUDA sources: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE MOESIM_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT MOESIM_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "MOESIM_CUDA is '${MOESIM_CUDA}'; it must be AUTO, ON or OFF")
endif()

set(MOESIM_CUDA_FOUND FALSE)
set(moesim_cuda_absent "")  # why not, where not
if(MOESIM_CUDA STREQUAL "OFF")
  set(moesim_cuda_absent "MOESIM_CUDA is OFF")
elseif(MOESIM_SANITIZE)
  set(moesim_cuda_absent "nvcc does not take the flags of a sanitizer build")
else()
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(moesim_cuda_absent "no nvcc on the PATH, in CUDACXX or in CUDA_PATH (it is often in /usr/local/cuda/bin)")
  endif()
endif()

if(moesim_cuda_absent AND MOESIM_CUDA STREQUAL "ON")
  message(FATAL_ERROR "MOESIM_CUDA is ON, but ${moesim_cuda_absent}")
elseif(moesim_cuda_absent)
  message(STATUS "CUDA: off, ${moesim_cuda_absent}")
else()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90)
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  # Kernels include none of the project's C++20, so that older compilers will do; CMake 3.25 knows no C++20 for nvcc 13 either.
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(MOESIM_CUDA_FOUND TRUE)
  list(JOIN CMAKE_CUDA_ARCHITECTURES ", " moesim_cuda_architectures)
  message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER_VERSION}, for sm_ ${moesim_cuda_architectures}")
endif()
