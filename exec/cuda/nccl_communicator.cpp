#include "exec/cuda/nccl_communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "exec/cuda/cuda_status.hpp"
#include "exec/cuda/nccl.hpp"
#include "exec/run/issued_compute.hpp"

namespace moesim {
namespace {

// Several communicators may be busy at once, and kernels that wait for other ranks must all find room on the device.
constexpr int kMostBlocks = 8;

ncclDataType_t type_of(Reduction how) { return how.type == DType::kBf16 ? ncclBfloat16 : ncclFloat32; }
ncclRedOp_t operator_of(Reduction how) { return how.kind == ReduceKind::kMax ? ncclMax : ncclSum; }
std::size_t elements_of(Reduction how, std::size_t bytes) {
  return bytes / static_cast<std::size_t>(storage(1, how.type).count());
}

bool is_failure(ncclResult_t result) { return result != ncclSuccess && result != ncclInProgress; }

// Operations that NCCL is to start together; remembers the first failure.
class NcclGroup {
 public:
  explicit NcclGroup(const NcclApi& nccl) : nccl_(nccl) { note(nccl_.group_start()); }
  void note(ncclResult_t result) {
    if (!is_failure(first_failure_)) first_failure_ = result;
  }
  [[nodiscard]] ncclResult_t end() {
    const ncclResult_t result = nccl_.group_end();
    return is_failure(first_failure_) ? first_failure_ : result;
  }

 private:
  const NcclApi& nccl_;
  ncclResult_t first_failure_ = ncclSuccess;
};

// Where each block of a buffer begins.
std::vector<std::int64_t> offsets_of(std::span<const std::int64_t> sizes) {
  std::vector<std::int64_t> offsets;
  std::int64_t next = 0;
  for (const std::int64_t size : sizes) offsets.push_back(std::exchange(next, next + size));
  return offsets;
}

Error wrong(std::string what) { return {ErrorKind::kInternal, std::move(what), {}, {}}; }

}  // namespace

// One NCCL communicator with its stream.
class NcclCommunicator::Line {
 public:
  Line(NcclCommunicator& owner, CommGroup members, Channel channel)
      : owner_(owner), members_(std::move(members)), channel_(channel) {}
  ~Line() {
    if (comm_ != nullptr) owner_.failed_ ? owner_.nccl_.abort(comm_) : owner_.nccl_.destroy(comm_);
    if (stream_.handle != nullptr) owner_.backend().destroy_stream(stream_);
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  [[nodiscard]] Status begin() {
    MOESIM_ASSIGN(stream_, owner_.backend().create_stream());
    if (members_.position() == 0) {
      MOESIM_TRY(owner_.nccl_status(owner_.nccl_.get_unique_id(&id_), "making an id"));
    }
    id_travels_ =
        owner_.host().broadcast(members_, channel_, members_.member(0), std::as_writable_bytes(std::span(&id_, 1)));
    return {};
  }

  // Whether operations can be given: what was begun before has been taken over by NCCL.
  [[nodiscard]] Result<bool> ready() {
    if (comm_ == nullptr) {
      MOESIM_ASSIGN(const bool arrived, id_travels_.test());
      if (!arrived) return false;
      MOESIM_TRY(join());
    }
    ncclResult_t state = ncclSuccess;
    MOESIM_TRY(owner_.nccl_status(owner_.nccl_.async_error(comm_, &state), "asking for its state"));
    MOESIM_TRY(owner_.nccl_status(state, "communication"));
    return state != ncclInProgress;
  }

  [[nodiscard]] ncclComm_t comm() const { return comm_; }
  [[nodiscard]] DeviceStream stream() const { return stream_; }

 private:
  [[nodiscard]] Status join() {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.maxCTAs = kMostBlocks;
    MOESIM_TRY(owner_.backend().select());
    return owner_.nccl_status(owner_.nccl_.init_rank(&comm_, members_.size(), id_, members_.position(), &config),
                              "joining a communicator");
  }

  NcclCommunicator& owner_;
  CommGroup members_;
  Channel channel_;
  DeviceStream stream_;
  ncclUniqueId id_{};
  Request id_travels_;
  ncclComm_t comm_ = nullptr;
};

// Wait for the line, give the operation, wait until NCCL has it on the stream, wait for the stream.
class NcclCommunicator::Steps final : public DeviceSteps {
 public:
  Steps(NcclCommunicator& owner, Line& line, std::string what, Give operation, DeviceEvent begin)
      : owner_(owner),
        line_(line),
        what_(std::move(what)),
        operation_(std::move(operation)),
        begin_(begin),
        watchdog_(owner.options_.clock, owner.options_.deadline) {}
  ~Steps() override { owner_.backend().destroy_event(begin_); }

  [[nodiscard]] Result<bool> advance() override {
    Result<bool> done = try_steps();
    if (done && !*done && watchdog_.idle_for_too_long())
      done = fail(
          ErrorKind::kInternal,
          fmt::format("rank {} waited {} s for {} by NCCL", owner_.rank().value(), watchdog_.deadline().value(), what_),
          {}, "look for the first error of the other ranks; a slow machine may need a longer deadline");
    if (!done) owner_.failed_ = true;
    return done;
  }

 private:
  [[nodiscard]] Result<bool> try_steps() {
    MOESIM_ASSIGN(const bool ready, line_.ready());  // also of what other ranks have met with
    if (!ready) return false;
    if (operation_) {
      const Give operation = std::exchange(operation_, nullptr);
      MOESIM_TRY(owner_.backend().wait(line_.stream(), begin_));
      MOESIM_TRY(owner_.nccl_status(
          operation(owner_.nccl_, line_.comm(), static_cast<cudaStream_t>(line_.stream().handle)), what_));
      watchdog_.moved();
      return false;  // NCCL may still be at it
    }
    if (!given_) {
      MOESIM_ASSIGN(done_, request_behind(owner_.backend(), line_.stream()));
      given_ = true;
    }
    return done_.test();
  }

  NcclCommunicator& owner_;
  Line& line_;
  std::string what_;
  Give operation_;
  DeviceEvent begin_;
  Watchdog watchdog_;
  bool given_ = false;
  Request done_;
};

Result<std::unique_ptr<NcclCommunicator>> NcclCommunicator::make(CudaBackend& backend, Communicator& host,
                                                                 const NcclApi& nccl, const CommOptions& options) {
  return std::unique_ptr<NcclCommunicator>(new NcclCommunicator(backend, host, nccl, options));
}

NcclCommunicator::~NcclCommunicator() {
  failed_ = failed_ || anything_in_flight();  // NCCL would wait for the others
  drop_all();
  lines_.clear();
}

Status NcclCommunicator::nccl_status(ncclResult_t result, std::string_view what) const {
  if (!is_failure(result)) return {};
  return fail(ErrorKind::kInternal, fmt::format("NCCL: {}: {}", what, nccl_.error_string(result)), {},
              "NCCL_DEBUG=WARN makes NCCL say more");
}

Result<std::unique_ptr<DeviceSteps>> NcclCommunicator::make_steps(const Key& key, const CommGroup& members,
                                                                  std::string what, Give operation) {
  std::unique_ptr<Line>& line = lines_[key];
  if (!line) {
    line = std::make_unique<Line>(*this, members, std::get<Channel>(key));
    MOESIM_TRY(line->begin());
  }
  MOESIM_ASSIGN(const DeviceEvent begin, backend().create_event());
  auto steps = std::make_unique<Steps>(*this, *line, std::move(what), std::move(operation), begin);
  MOESIM_TRY(backend().record(begin, backend().exchange_stream()));
  return steps;
}

Request NcclCommunicator::give(const Key& key, const CommGroup& members, std::string what, Give operation) {
  return start(make_steps(key, members, std::move(what), std::move(operation)));
}

Request NcclCommunicator::give_to_group(const CommGroup& group, Channel channel, std::string what, Give operation) {
  return give({group.fingerprint(), -1, -1, channel}, group,
              fmt::format("{} on channel {} of {}", what, channel.value(), ranks_to_text(group.members())),
              std::move(operation));
}

Request NcclCommunicator::all_to_all_v(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers) {
  if (!on_device(buffers.send) && !on_device(buffers.receive)) return host().all_to_all_v(group, channel, buffers);
  const std::vector<std::int64_t> sent(buffers.send_bytes.begin(), buffers.send_bytes.end());
  const std::vector<std::int64_t> received(buffers.receive_bytes.begin(), buffers.receive_bytes.end());
  if (std::ssize(sent) != group.size() || std::ssize(received) != group.size())
    return start(tl::unexpected(wrong("all_to_all_v: not one count for each member")));
  if (buffers.algorithm == ExchangeAlgorithm::kPairwise) return pairwise_exchange(group, channel, buffers);
  if (!exchanges_by(buffers.algorithm))
    return start(fail(ErrorKind::kUsage,
                      fmt::format("the token exchange by {} does not run over NCCL, linear and pairwise do",
                                  exchange_algorithm_name(buffers.algorithm)),
                      {}, "name one of these in the plan, or let the data pass through the host's memory"));
  return give_to_group(
      group, channel, "all_to_all_v",
      [send = buffers.send.data(), receive = buffers.receive.data(), sent, received](
          const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
        const std::vector<std::int64_t> from = offsets_of(sent), to = offsets_of(received);
        NcclGroup all(nccl);
        for (std::size_t peer = 0; peer < sent.size(); ++peer) {
          const auto out = static_cast<std::size_t>(sent[peer]), in = static_cast<std::size_t>(received[peer]);
          if (out > 0) all.note(nccl.send(send + from[peer], out, ncclInt8, static_cast<int>(peer), comm, stream));
          if (in > 0) all.note(nccl.receive(receive + to[peer], in, ncclInt8, static_cast<int>(peer), comm, stream));
        }
        return all.end();
      });
}

// A group of one send and one receive for each distance; NCCL runs them in turn on the stream.
Request NcclCommunicator::pairwise_exchange(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers) {
  const std::vector<std::int64_t> sent(buffers.send_bytes.begin(), buffers.send_bytes.end());
  const std::vector<std::int64_t> received(buffers.receive_bytes.begin(), buffers.receive_bytes.end());
  return give_to_group(
      group, channel, "all_to_all_v",
      [send = buffers.send.data(), receive = buffers.receive.data(), sent, received, own = group.position()](
          const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
        const std::vector<std::int64_t> from = offsets_of(sent), to = offsets_of(received);
        const int n = static_cast<int>(sent.size());
        ncclResult_t result = ncclSuccess;
        for (int distance = 0; distance < n && !is_failure(result); ++distance) {
          const auto next = static_cast<std::size_t>((own + distance) % n);
          const auto last = static_cast<std::size_t>((own - distance + n) % n);
          const auto out = static_cast<std::size_t>(sent[next]), in = static_cast<std::size_t>(received[last]);
          NcclGroup round(nccl);
          if (out > 0) round.note(nccl.send(send + from[next], out, ncclInt8, static_cast<int>(next), comm, stream));
          if (in > 0) round.note(nccl.receive(receive + to[last], in, ncclInt8, static_cast<int>(last), comm, stream));
          result = round.end();
        }
        return result;
      });
}

Request NcclCommunicator::all_gather(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                     std::span<std::byte> all) {
  if (!on_device(mine) && !on_device(all)) return host().all_gather(group, channel, mine, all);
  return give_to_group(group, channel, "all_gather",
                       [mine, all](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                         return nccl.all_gather(mine.data(), all.data(), mine.size(), ncclInt8, comm, stream);
                       });
}

Request NcclCommunicator::all_gather_v(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                       std::span<std::byte> all, std::span<const std::int64_t> bytes) {
  if (!on_device(mine) && !on_device(all)) return host().all_gather_v(group, channel, mine, all, bytes);
  const std::vector<std::int64_t> sizes(bytes.begin(), bytes.end());
  return give_to_group(
      group, channel, "all_gather_v", [mine, all, sizes](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
        const std::vector<std::int64_t> to = offsets_of(sizes);
        NcclGroup together(nccl);
        for (std::size_t owner = 0; owner < sizes.size(); ++owner)
          if (sizes[owner] > 0)
            together.note(nccl.broadcast(mine.data(), all.data() + to[owner], static_cast<std::size_t>(sizes[owner]),
                                         ncclInt8, static_cast<int>(owner), comm, stream));
        return together.end();
      });
}

Request NcclCommunicator::reduce_scatter(const CommGroup& group, Channel channel, Reduction how,
                                         std::span<const std::byte> all, std::span<std::byte> mine) {
  if (!on_device(all) && !on_device(mine)) return host().reduce_scatter(group, channel, how, all, mine);
  return give_to_group(group, channel, "reduce_scatter",
                       [how, all, mine](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                         return nccl.reduce_scatter(all.data(), mine.data(), elements_of(how, mine.size()),
                                                    type_of(how), operator_of(how), comm, stream);
                       });
}

Request NcclCommunicator::reduce_scatter_v(const CommGroup& group, Channel channel, Reduction how,
                                           std::span<const std::byte> all, std::span<std::byte> mine,
                                           std::span<const std::int64_t> elements) {
  if (!on_device(all) && !on_device(mine)) return host().reduce_scatter_v(group, channel, how, all, mine, elements);
  const std::vector<std::int64_t> counts(elements.begin(), elements.end());
  const std::int64_t unit = storage(1, how.type).count();
  return give_to_group(group, channel, "reduce_scatter_v",
                       [how, all, mine, counts, unit](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                         const std::vector<std::int64_t> from = offsets_of(counts);
                         NcclGroup together(nccl);
                         for (std::size_t owner = 0; owner < counts.size(); ++owner)
                           if (counts[owner] > 0)
                             together.note(nccl.reduce(all.data() + from[owner] * unit, mine.data(),
                                                       static_cast<std::size_t>(counts[owner]), type_of(how),
                                                       operator_of(how), static_cast<int>(owner), comm, stream));
                         return together.end();
                       });
}

Request NcclCommunicator::all_reduce(const CommGroup& group, Channel channel, Reduction how,
                                     std::span<std::byte> data) {
  if (!on_device(data)) return host().all_reduce(group, channel, how, data);
  return give_to_group(group, channel, "all_reduce",
                       [how, data](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                         return nccl.all_reduce(data.data(), data.data(), elements_of(how, data.size()), type_of(how),
                                                operator_of(how), comm, stream);
                       });
}

Request NcclCommunicator::broadcast(const CommGroup& group, Channel channel, RankId root, std::span<std::byte> data) {
  if (!on_device(data)) return host().broadcast(group, channel, root, data);
  const auto found = std::ranges::find(group.members(), root);
  if (found == group.members().end())
    return start(tl::unexpected(wrong(fmt::format("broadcast: rank {} is not in the group", root.value()))));
  return give_to_group(group, channel, "broadcast",
                       [data, from = static_cast<int>(found - group.members().begin())](
                           const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                         return nccl.broadcast(data.data(), data.data(), data.size(), ncclInt8, from, comm, stream);
                       });
}

Request NcclCommunicator::send(RankId to, Channel channel, std::span<const std::byte> data) {
  if (!on_device(data)) return host().send(to, channel, data);
  Result<CommGroup> pair = host().group({rank(), to});
  if (!pair) return start(tl::unexpected(std::move(pair).error()));
  return give({0, rank().value(), to.value(), channel}, *pair,
              fmt::format("a message to rank {} on channel {}", to.value(), channel.value()),
              [data](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                return nccl.send(data.data(), data.size(), ncclInt8, 1, comm, stream);
              });
}

Request NcclCommunicator::receive(RankId from, Channel channel, std::span<std::byte> data) {
  if (!on_device(data)) return host().receive(from, channel, data);
  Result<CommGroup> pair = host().group({from, rank()});
  if (!pair) return start(tl::unexpected(std::move(pair).error()));
  return give({0, from.value(), rank().value(), channel}, *pair,
              fmt::format("a message from rank {} on channel {}", from.value(), channel.value()),
              [data](const NcclApi& nccl, ncclComm_t comm, cudaStream_t stream) {
                return nccl.receive(data.data(), data.size(), ncclInt8, 0, comm, stream);
              });
}

Status check_nccl() {
  MOESIM_TRY(load_nccl());
  return {};
}

Result<std::unique_ptr<Communicator>> make_nccl_communicator(CudaBackend& backend, Communicator& host,
                                                             const CommOptions& options) {
  MOESIM_ASSIGN(const NcclApi nccl, load_nccl());
  MOESIM_ASSIGN(std::unique_ptr<Communicator> made, NcclCommunicator::make(backend, host, nccl, options));
  return made;
}

}  // namespace moesim
