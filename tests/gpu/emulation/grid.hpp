// Runs a grid at once, in the calling thread; and what is on no real device: see runtime.cpp.
#pragma once

#include <cstdint>
#include <functional>

namespace moesim::emulation {

void run_grid(unsigned blocks_x, unsigned blocks_y, unsigned threads, const std::function<void()>& thread);

// Puts work on a stream of the emulated runtime; it runs when somebody waits for it.
void enqueue(void* stream, std::function<void()> work);

}  // namespace moesim::emulation
