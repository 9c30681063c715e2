#!/usr/bin/env bash
# Usage: cuda_detection.sh SOURCE_FOLDER
#
# cmake/MoesimCuda.cmake in a project of its own, in each of its states: with no nvcc at hand, and with one where this machine
# has it. Ends 1 with what was wrong.
set -euo pipefail
modules="$1/cmake"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

cat > "$scratch/CMakeLists.txt" << 'END'
cmake_minimum_required(VERSION 3.25)
project(detection LANGUAGES CXX)
include(MoesimCuda)
if(MOESIM_CUDA_FOUND)
  add_executable(probe probe.cu)
  target_link_libraries(probe PRIVATE CUDA::cudart_static)
endif()
END
cat > "$scratch/probe.cu" << 'END'
#include <cstdio>
#include <cuda_runtime.h>
#include <type_traits>
template <class T> __global__ void fill(T* out) {
  if constexpr (std::is_integral_v<T>) *out = 1;  // C++17
}
int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return std::puts("no usable GPU") < 0;
  fill<<<1, 1>>>(static_cast<int*>(nullptr));
  return std::puts("launched") < 0;
}
END

# The PATH without the folders that have an nvcc.
bare_path=""
IFS=: read -ra folders <<< "$PATH"
for folder in "${folders[@]}"; do
  [ -x "$folder/nvcc" ] || bare_path+="${bare_path:+:}$folder"
done

# expect STATUS TEXT BUILD_FOLDER COMMAND...: the command ends so and says so.
expect() {
  local wanted="$1" text="$2" folder="$3" status=0
  shift 3
  "$@" -S "$scratch" -B "$scratch/$folder" -G Ninja -DCMAKE_MODULE_PATH="$modules" > "$scratch/log" 2>&1 || status=$?
  # CMake breaks lines of its errors; a space in TEXT stands for a break as well.
  if [ "$((status != 0))" -ne "$wanted" ] || ! tr -s ' \n' ' ' < "$scratch/log" | grep -qF -- "$text"; then
    echo "$*: ended $status, wanted '$text' and $wanted; it said:" >&2
    cat "$scratch/log" >&2
    exit 1
  fi
}
if PATH="$bare_path" command -v c++ > /dev/null; then
  without_nvcc=(env -u CUDACXX -u CUDA_PATH PATH="$bare_path" cmake)
  expect 0 "CUDA: off, no nvcc on the PATH" auto "${without_nvcc[@]}"
  expect 1 "MOESIM_CUDA is ON, but no nvcc" on "${without_nvcc[@]}" -DMOESIM_CUDA=ON
else
  echo "nvcc stands beside the compiler: its absence was not looked at"
fi
expect 0 "CUDA: off, MOESIM_CUDA is OFF" off cmake -DMOESIM_CUDA=OFF
expect 1 "it must be AUTO, ON or OFF" word cmake -DMOESIM_CUDA=yes
expect 0 "CUDA: off, nvcc does not take" sanitized cmake -DMOESIM_SANITIZE=address
if ! command -v nvcc > /dev/null; then
  echo "no nvcc here: what is done with one was not looked at"
  exit 0
fi
expect 0 "for sm_ 80, 90" found cmake -DMOESIM_CUDA=ON
cmake --build "$scratch/found" > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
"$scratch/found/probe"
