#include <gmock/gmock.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "kernel_testing.hpp"

namespace moesim::kernel_testing {
namespace {

TEST(BackendMemoryTest, CopiesInOutAndAcross) {
  const std::vector<int> numbers = {1, 2, 3, 4};
  const Bytes size(16);
  void* a = backend().allocate(size).value();
  void* b = backend().allocate(size).value();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a) % 256, 0U);
  std::vector<int> back(4, 0);
  expect_ok(backend().copy_in(stream(), a, numbers.data(), size));
  expect_ok(backend().copy(stream(), b, a, size));
  expect_ok(backend().fill_zero(stream(), a, Bytes(8)));
  expect_ok(backend().copy_out(stream(), back.data(), b, size));
  EXPECT_EQ(back, numbers);
  expect_ok(backend().copy_out(stream(), back.data(), a, size));
  EXPECT_EQ(back, (std::vector<int>{0, 0, 3, 4}));
  backend().free(a);
  backend().free(b);
}

TEST(BackendMemoryTest, NothingIsAllocatedOrCopiedWithoutHarm) {
  const Result<void*> none = backend().allocate(Bytes(0));
  ASSERT_TRUE(none.has_value());
  expect_ok(backend().copy_in(stream(), nullptr, nullptr, Bytes(0)));
  expect_ok(backend().fill_zero(stream(), nullptr, Bytes(0)));
  backend().free(none.value());
  backend().free(nullptr);
}

TEST(BackendMemoryTest, TooMuchIsAnError) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer stops the program at such a request instead of refusing it";
#endif
  const Result<void*> memory = backend().allocate(Bytes(std::int64_t{1} << 62));
  ASSERT_FALSE(memory.has_value());
  EXPECT_THAT(memory.error().what, ::testing::HasSubstr("4611686018427387904 bytes"));
  EXPECT_FALSE(backend().allocate(Bytes(-1)).has_value());
}

TEST(BackendEventTest, WaitHoldsUntilRecorded) {
  const std::unique_ptr<ComputeBackend> own = make_cpu_backend();
  const DeviceEvent event = own->create_event().value();
  int written = 0;  // by the other thread, before it records
  std::thread writer([&] {
    written = 42;
    expect_ok(own->record(event, {}));
  });
  expect_ok(own->wait({}, event));
  EXPECT_EQ(written, 42);
  writer.join();
  expect_ok(own->wait({}, event));  // still recorded
  own->destroy_event(event);
}

TEST(BackendEventTest, ResetArmsAgain) {
  const std::unique_ptr<ComputeBackend> own = make_cpu_backend();
  const DeviceEvent event = own->create_event().value();
  expect_ok(own->record(event, {}));
  own->reset(event);
  std::atomic<bool> waiting = false;
  std::atomic<int> written = 0;
  int seen = -1;
  std::thread waiter([&] {
    waiting = true;
    expect_ok(own->wait({}, event));
    seen = written;
  });
  while (!waiting) std::this_thread::yield();
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // time for a wait that does not hold to go on
  written = 42;
  expect_ok(own->record(event, {}));
  waiter.join();
  EXPECT_EQ(seen, 42);
  own->destroy_event(event);
}

TEST(BackendEventTest, CancelEndsWaitsNowAndLater) {
  const std::unique_ptr<ComputeBackend> own = make_cpu_backend();
  const DeviceEvent event = own->create_event().value();
  std::string reason;
  std::thread waiter([&] { reason = refusal(own->wait({}, event)); });
  own->cancel_waits();
  waiter.join();
  EXPECT_THAT(reason, ::testing::HasSubstr("given up"));
  EXPECT_FALSE(own->wait({}, event).has_value());
  own->destroy_event(event);
}

TEST(BackendThreadsTest, KernelsRunSideBySide) {
  constexpr std::int64_t kSize = 60;
  const Values values = random_values(1, kSize * kSize);
  const DeviceMatrix x(DType::kBf16, kSize, kSize, values);
  const DeviceMatrix alone(DType::kBf16, kSize, kSize);
  expect_ok(backend().gemm(stream(), {x.view(), x.view(), alone.view()}));
  const Values expected = alone.values();
  std::atomic<int> equal = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      const DeviceMatrix y(DType::kBf16, kSize, kSize);
      for (int i = 0; i < 10; ++i) expect_ok(backend().gemm(stream(), {x.view(), x.view(), y.view()}));
      if (y.values() == expected) ++equal;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(equal, 4);
}

}  // namespace
}  // namespace moesim::kernel_testing
