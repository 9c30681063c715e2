// The only file that knows MPI.
#include <fmt/format.h>
#include <mpi.h>

#include <exception>

#include "sim/sweep/mpi.hpp"

namespace moesim {
namespace {

// Errors of MPI itself keep its own handling, which ends every process and says why.
class MpiTransport final : public SweepTransport {
 public:
  MpiTransport() {
    int provided = 0;
    // Only the thread that made the transport calls MPI.
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiTransport() override {
    if (std::uncaught_exceptions() > 0) MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ErrorKind::kInternal));
    MPI_Finalize();
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }

  void send(int to, SweepMessageKind kind, std::string_view body) override {
    MPI_Send(body.data(), static_cast<int>(body.size()), MPI_CHAR, to, static_cast<int>(kind), MPI_COMM_WORLD);
  }

  [[nodiscard]] std::optional<SweepMessage> poll() override {
    int arrived = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &arrived, &status);
    if (arrived == 0) return std::nullopt;
    int length = 0;
    MPI_Get_count(&status, MPI_CHAR, &length);
    SweepMessage message{status.MPI_SOURCE, static_cast<SweepMessageKind>(status.MPI_TAG),
                         std::string(static_cast<std::size_t>(length), '\0')};
    MPI_Recv(message.body.data(), length, MPI_CHAR, status.MPI_SOURCE, status.MPI_TAG, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    return message;
  }

 private:
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace

Result<std::unique_ptr<SweepTransport>> join_mpi(int expected_size) {
  auto transport = std::make_unique<MpiTransport>();
  if (transport->size() != expected_size)
    return fail(ErrorKind::kUsage,
                fmt::format("the launcher started {} processes, but MPI sees {}", expected_size, transport->size()), {},
                "use the mpirun of the MPI that moesim was built with");
  return transport;
}

}  // namespace moesim
