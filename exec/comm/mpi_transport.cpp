// The only file of exec/ that knows MPI.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <exception>
#include <string>
#include <vector>

#include "exec/comm/host_communicator.hpp"
#include "exec/comm/mpi.hpp"
#include "exec/comm/transfer_table.hpp"

namespace moesim {
namespace {

// Longer transfers go in pieces: MPI counts with an int, a deadline should see a long one move, and a piece stays below the eager
// limit of 32 MiB that suits shaped Ethernet (tests/cluster). Both ends cut in the same way.
constexpr std::size_t kPieceBytes = std::size_t{16} << 20;

Error mpi_error(int code, std::string_view doing) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return {ErrorKind::kInternal, fmt::format("MPI, {}: {}", doing, std::string_view(text.data(), length)), {}, {}};
}

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    int provided = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
    void* limit = nullptr;
    int known = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &limit, &known);
    largest_tag_ = known != 0 ? *static_cast<int*>(limit) : 32767;  // the least that the standard allows
    gather_host_names();
  }
  ~MpiTransport() override {
    // Others may wait for us in what will never be finished; MPI_Finalize would wait with them.
    if (given_up_ || std::uncaught_exceptions() > 0) MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ErrorKind::kInternal));
    MPI_Comm_free(&comm_);
    MPI_Finalize();
  }

  [[nodiscard]] RankId rank() const override { return RankId(rank_); }
  [[nodiscard]] int size() const override { return size_; }
  [[nodiscard]] std::string_view host_of(RankId rank) const override { return hosts_[rank.index()]; }
  [[nodiscard]] int largest_tag() const override { return largest_tag_; }

  [[nodiscard]] Result<TransferId> send(RankId to, int tag, std::span<const std::byte> data) override {
    return post(data, [&](std::span<const std::byte> piece, MPI_Request* request) {
      return MPI_Isend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, to.value(), tag, comm_, request);
    });
  }
  [[nodiscard]] Result<TransferId> receive(RankId from, int tag, std::span<std::byte> data) override {
    return post(data, [&](std::span<std::byte> piece, MPI_Request* request) {
      return MPI_Irecv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, from.value(), tag, comm_, request);
    });
  }

  [[nodiscard]] Result<bool> progress() override;
  [[nodiscard]] Result<std::optional<std::size_t>> take_if_done(TransferId id) override;
  void abort_all(std::string_view /*reason*/) override {
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ErrorKind::kInternal));
  }
  void give_up() override { given_up_ = true; }

 private:
  struct Transfer {
    int open_pieces = 0;
    std::size_t received = 0;
    int fault = MPI_SUCCESS;
  };

  template <class Byte, class Post>
  Result<TransferId> post(std::span<Byte> data, const Post& post_piece) {
    const TransferId id = transfers_.add({});
    std::size_t begin = 0;
    do {  // even an empty transfer has one piece
      const auto piece = data.subspan(begin, std::min(kPieceBytes, data.size() - begin));
      MPI_Request request = MPI_REQUEST_NULL;
      if (const int code = post_piece(piece, &request); code != MPI_SUCCESS)
        return tl::unexpected(mpi_error(code, "starting a transfer"));
      requests_.push_back(request);
      owners_.push_back(id);
      ++transfers_[id].open_pieces;
      begin += piece.size();
    } while (begin < data.size());
    return id;
  }

  void gather_host_names() {
    std::array<char, MPI_MAX_PROCESSOR_NAME> own{};
    int length = 0;
    MPI_Get_processor_name(own.data(), &length);
    std::vector<char> all(own.size() * static_cast<std::size_t>(size_));
    const int width = static_cast<int>(own.size());
    MPI_Allgather(own.data(), width, MPI_CHAR, all.data(), width, MPI_CHAR, comm_);
    for (std::size_t i = 0; i < static_cast<std::size_t>(size_); ++i) hosts_.emplace_back(all.data() + i * own.size());
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0;
  int size_ = 1;
  int largest_tag_ = 0;
  bool given_up_ = false;
  std::vector<std::string> hosts_;
  TransferTable<Transfer> transfers_;
  std::vector<MPI_Request> requests_;  // side by side with owners_
  std::vector<TransferId> owners_;
  std::vector<int> finished_;
  std::vector<MPI_Status> statuses_;
};

Result<bool> MpiTransport::progress() {
  if (requests_.empty()) return false;
  finished_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code =
      MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, finished_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) return tl::unexpected(mpi_error(code, "transferring"));
  if (count == MPI_UNDEFINED || count == 0) return false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const auto which = static_cast<std::size_t>(finished_[i]);
    Transfer& transfer = transfers_[owners_[which]];
    --transfer.open_pieces;
    if (code == MPI_ERR_IN_STATUS && statuses_[i].MPI_ERROR != MPI_SUCCESS) transfer.fault = statuses_[i].MPI_ERROR;
    int bytes = 0;  // of a send it means nothing, and nobody asks
    MPI_Get_count(&statuses_[i], MPI_BYTE, &bytes);
    if (bytes > 0) transfer.received += static_cast<std::size_t>(bytes);
    requests_[which] = MPI_REQUEST_NULL;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    requests_[kept] = requests_[i];
    owners_[kept++] = owners_[i];
  }
  requests_.resize(kept);
  owners_.resize(kept);
  return true;
}

Result<std::optional<std::size_t>> MpiTransport::take_if_done(TransferId id) {
  const Transfer transfer = transfers_[id];
  if (transfer.open_pieces > 0) return std::nullopt;
  transfers_.remove(id);
  if (transfer.fault != MPI_SUCCESS) return tl::unexpected(mpi_error(transfer.fault, "transferring"));
  return transfer.received;
}

}  // namespace

Result<std::unique_ptr<Communicator>> join_mpi_world(int expected_size, CommOptions options) {
  auto transport = std::make_unique<MpiTransport>();
  if (transport->size() != expected_size)
    return fail(ErrorKind::kUsage,
                fmt::format("the launcher started {} processes, but MPI sees {}", expected_size, transport->size()), {},
                "use the mpirun of the MPI that this program was built with");
  MOESIM_ASSIGN(std::unique_ptr<Communicator> communicator,
                HostCommunicator::make(std::move(transport), std::move(options)));
  return communicator;
}

}  // namespace moesim
