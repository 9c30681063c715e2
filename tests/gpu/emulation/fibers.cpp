// Blocks of fibers; see device.hpp.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "tests/gpu/emulation/device.hpp"
#include "tests/gpu/emulation/grid.hpp"

// Saves the registers that a call must keep, and goes on where the other stack was left.
extern "C" void moesim_switch_stack(void** save, void* load);
asm(R"(
.text
.globl moesim_switch_stack
.type moesim_switch_stack, @function
moesim_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size moesim_switch_stack, .-moesim_switch_stack
)");

namespace moesim::emulation {
namespace {

constexpr unsigned kWarp = 32;
constexpr std::size_t kStackBytes = 128 * 1024;

struct Barrier {
  unsigned wanted = 0;
  unsigned arrived = 0;
  std::uint64_t passed = 0;
};

struct Fiber {
  std::unique_ptr<std::byte[]> stack;
  void* position = nullptr;
  bool ended = false;
  const Barrier* waits_at = nullptr;
  std::uint64_t passed_before = 0;
};

// What a thread of the test needs to run blocks, kept from one to the next.
struct Runner {
  std::vector<Fiber> fibers;
  std::vector<Barrier> warps;
  std::vector<std::uint64_t> words;  // of shuffles, by thread
  Barrier block;
  int any = 0;
  void* scheduler = nullptr;
  unsigned current = 0;
  bool backwards = false;
  const std::function<void()>* thread = nullptr;
};
thread_local Runner runner;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "emulated GPU: %s\n", what);
  std::abort();
}

void wait_at(Barrier& barrier) {
  if (++barrier.arrived == barrier.wanted) {
    barrier.arrived = 0;
    ++barrier.passed;
    return;
  }
  Fiber& own = runner.fibers[runner.current];
  own.waits_at = &barrier;
  own.passed_before = barrier.passed;
  moesim_switch_stack(&own.position, runner.scheduler);
}

Barrier& own_warp() { return runner.warps[runner.current / kWarp]; }

void fiber_main() {
  (*runner.thread)();
  Fiber& own = runner.fibers[runner.current];
  own.ended = true;
  moesim_switch_stack(&own.position, runner.scheduler);
  give_up("a thread that had ended went on");
}

void prepare(Fiber& fiber) {
  if (!fiber.stack) fiber.stack = std::make_unique<std::byte[]>(kStackBytes);
  auto top = reinterpret_cast<std::uintptr_t>(fiber.stack.get() + kStackBytes) / 16 * 16;
  auto* words = reinterpret_cast<std::uintptr_t*>(top);
  *--words = 0;  // where a return address would stand: keeps the stack aligned as after a call
  *--words = reinterpret_cast<std::uintptr_t>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--words = 0;  // the saved registers
  fiber.position = words;
  fiber.ended = false;
  fiber.waits_at = nullptr;
}

void run_block(unsigned threads) {
  runner.block = {threads, 0, 0};
  runner.warps.assign((threads + kWarp - 1) / kWarp, {});
  for (unsigned t = 0; t < threads; ++t) ++runner.warps[t / kWarp].wanted;
  if (runner.fibers.size() < threads) runner.fibers.resize(threads);
  runner.words.resize(threads);
  for (unsigned t = 0; t < threads; ++t) prepare(runner.fibers[t]);
  for (unsigned left = threads; left > 0;) {
    bool moved = false;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned t = runner.backwards ? threads - 1 - i : i;
      Fiber& fiber = runner.fibers[t];
      if (fiber.ended || (fiber.waits_at != nullptr && fiber.waits_at->passed == fiber.passed_before)) continue;
      fiber.waits_at = nullptr;
      runner.current = t;
      here.thread.x = t;
      moesim_switch_stack(&runner.scheduler, fiber.position);
      moved = true;
      if (fiber.ended) --left;
    }
    if (!moved) give_up("threads wait at a barrier or a shuffle that others of their block or warp do not reach");
  }
  if (runner.block.arrived != 0) give_up("a thread ended before a barrier");
}

}  // namespace

void run_grid(unsigned blocks_x, unsigned blocks_y, unsigned threads, const std::function<void()>& thread) {
  runner.backwards = !runner.backwards;
  runner.thread = &thread;
  here.block_size = {threads, 1, 1};
  here.grid_size = {blocks_x, blocks_y, 1};
  for (unsigned y = 0; y < blocks_y; ++y)
    for (unsigned x = 0; x < blocks_x; ++x) {
      here.block = {x, y, 0};
      run_block(threads);
    }
}

void sync_block() { wait_at(runner.block); }
void sync_warp() { wait_at(own_warp()); }
int lane() { return static_cast<int>(runner.current % kWarp); }

std::uint64_t exchange(std::uint64_t own, int from_lane) {
  const unsigned thread = runner.current;
  runner.words[thread] = own;
  wait_at(own_warp());
  const std::uint64_t other = runner.words[thread / kWarp * kWarp + static_cast<unsigned>(from_lane)];
  wait_at(own_warp());
  return other;
}

unsigned ballot_of_warp(bool own) {
  const unsigned thread = runner.current;
  runner.words[thread] = own ? 1 : 0;
  wait_at(own_warp());
  unsigned bits = 0;
  for (unsigned l = 0; l < own_warp().wanted; ++l)
    bits |= static_cast<unsigned>(runner.words[thread / kWarp * kWarp + l]) << l;
  wait_at(own_warp());
  return bits;
}

int or_of_block(int own) {
  sync_block();
  runner.any = 0;
  sync_block();
  if (own != 0) runner.any = 1;
  sync_block();
  const int any = runner.any;
  sync_block();
  return any;
}

}  // namespace moesim::emulation
