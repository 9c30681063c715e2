// What of exec/cuda needs no device: geometry of launches, libraries found at run time, errors of the runtime as ours.
#include <gmock/gmock.h>

#include "base/shared_library.hpp"
#include "exec/cuda/cublas_library.hpp"
#include "exec/cuda/cuda_status.hpp"
#include "exec/cuda/kernels/geometry.hpp"

namespace moesim {
namespace {

using ::testing::HasSubstr;

TEST(Geometry, ExampleOfTheHeader) {
  const gpu::Geometry geometry = gpu::over_elements(3, 1000, gpu::kWideColumns);
  EXPECT_EQ(geometry.x, 1U);  // 1000 / (256 * 8)
  EXPECT_EQ(geometry.y, 3U);
  EXPECT_EQ(geometry.threads, 256U);
}

// CUDA takes 2^31 - 1 blocks along x, 65535 along y, and none of a size of 0.
TEST(Geometry, StaysWithinCudasLimits) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 40;
  for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{1}, std::int64_t{70'000}, kHuge})
    for (const std::int64_t columns : {std::int64_t{0}, std::int64_t{1}, std::int64_t{5000}, kHuge})
      for (const gpu::Geometry& g :
           {gpu::over_elements(rows, columns, 1), gpu::block_per_row(rows, columns, 8), gpu::warp_per_item(rows)}) {
        EXPECT_GE(g.x, 1U);
        EXPECT_LE(g.x, 0x7FFFFFFFU);
        EXPECT_GE(g.y, 1U);
        EXPECT_LE(g.y, 65535U);
        EXPECT_GE(g.threads, 32U);
        EXPECT_LE(g.threads, 1024U);
        EXPECT_EQ(g.threads % 32, 0U);
      }
}

TEST(Geometry, WideOperandsBeginAtSixteenBytesAndHaveWholeEights) {
  alignas(16) float memory[32];
  const gpu::Operand whole{memory, gpu::Element::kFp32, 2, 8, 16};
  EXPECT_TRUE(gpu::is_wide(whole));
  gpu::Operand odd = whole;
  odd.columns = 7;
  EXPECT_FALSE(gpu::is_wide(odd));
  odd = whole;
  odd.stride = 12;
  EXPECT_FALSE(gpu::is_wide(odd));
  odd = whole;
  odd.data = memory + 1;
  EXPECT_FALSE(gpu::is_wide(odd));
  EXPECT_TRUE(gpu::all_wide({whole, gpu::Operand()}));  // an absent one is no obstacle
}

TEST(Geometry, MatricesWithoutGapsAreOneRow) {
  const gpu::Operand dense{nullptr, gpu::Element::kBf16, 3, 5, 5};
  ASSERT_TRUE(gpu::is_dense(dense));
  const gpu::Operand row = gpu::flattened(dense);
  EXPECT_EQ(row.rows, 1);
  EXPECT_EQ(row.columns, 15);
  EXPECT_FALSE(gpu::is_dense({nullptr, gpu::Element::kBf16, 3, 5, 6}));
}

TEST(SharedLibrary, NamesTheOneThatIsMissing) {
  constexpr const char* kNames[] = {"libthere-is-none.so.2", "libthere-is-none.so"};
  const Result<SharedLibrary> library = SharedLibrary::open("Nothing", kNames);
  ASSERT_FALSE(library.has_value());
  EXPECT_THAT(library.error().what,
              HasSubstr("Nothing is missing: the loader finds no libthere-is-none.so.2, libthere-is-none.so"));
  EXPECT_THAT(library.error().hint, HasSubstr("LD_LIBRARY_PATH"));
}

TEST(SharedLibrary, NamesAFunctionThatIsMissing) {
  constexpr const char* kNames[] = {"libm.so.6"};
  const Result<SharedLibrary> library = SharedLibrary::open("The math library", kNames);
  ASSERT_TRUE(library.has_value()) << library.error().what;
  double (*function)(double) = nullptr;
  ASSERT_TRUE(library->bind(function, "cos").has_value());
  EXPECT_EQ(function(0.0), 1.0);
  const Status missing = library->bind(function, "cosine_of_nothing");
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().what, HasSubstr("libm.so.6 has no cosine_of_nothing"));
  library->bind_if_there(function, "cosine_of_nothing");
  EXPECT_EQ(function, nullptr);
}

// All names that are asked of the real library.
TEST(SharedLibrary, CublasHasWhatIsCalled) {
  const Result<CublasApi> cublas = load_cublas();
  if (!cublas) GTEST_SKIP() << cublas.error().what;
  EXPECT_NE(cublas->gemm_ex, nullptr);
}

TEST(CudaStatus, EveryWayToHaveNoGpuIsOneError) {
  for (const cudaError_t code : {cudaErrorInsufficientDriver, cudaErrorStubLibrary, cudaErrorNoDevice}) {
    const Status status = cuda_status(code, "asking");
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().kind, ErrorKind::kNoDevice);
    EXPECT_THAT(status.error().what, HasSubstr("no usable GPU"));
    EXPECT_THAT(status.error().hint, HasSubstr("--backend cpu"));
  }
}

TEST(CudaStatus, OthersSayWhatWasDone) {
  const Status status = cuda_status(cudaErrorIllegalAddress, "copying");
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kInternal);
  EXPECT_THAT(status.error().what, HasSubstr("CUDA: copying: "));
  EXPECT_TRUE(cuda_status(cudaSuccess, "copying").has_value());
}

}  // namespace
}  // namespace moesim
