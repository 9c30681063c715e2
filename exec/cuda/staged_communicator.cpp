#include "exec/cuda/staged_communicator.hpp"

#include "exec/run/issued_compute.hpp"

namespace moesim {
namespace {

Bytes size_of(std::span<const std::byte> bytes) { return Bytes(static_cast<std::int64_t>(bytes.size())); }

std::vector<std::int64_t> kept(std::span<const std::int64_t> numbers) { return {numbers.begin(), numbers.end()}; }

}  // namespace

// Down, across, up.
class StagedCommunicator::Steps final : public DeviceSteps {
 public:
  using Pinned = std::shared_ptr<PinnedPool::Block>;
  Steps(StagedCommunicator& owner, Pinned in, Pinned out, std::span<std::byte> to, Start begin)
      : owner_(owner), in_(std::move(in)), out_(std::move(out)), to_(to), begin_(std::move(begin)) {}

  [[nodiscard]] Status copy_down(std::span<const std::byte> from) {
    CudaBackend& backend = owner_.backend();
    if (from.empty()) return {};
    MOESIM_TRY(order_streams(backend, backend.exchange_stream(), owner_.down_));
    MOESIM_TRY(backend.copy_out(owner_.down_, in_->bytes().data(), from.data(), size_of(from)));
    MOESIM_ASSIGN(waiting_, request_behind(backend, owner_.down_));
    return {};
  }

  [[nodiscard]] Result<bool> advance() override {
    while (true) {
      MOESIM_ASSIGN(const bool passed, waiting_.test());
      if (!passed) return false;
      if (begin_) {
        const Start begin = std::exchange(begin_, nullptr);
        waiting_ = begin(in_->bytes(), out_->bytes());
      } else if (!to_.empty()) {
        MOESIM_ASSIGN(waiting_, copied_up());
      } else {
        return true;
      }
    }
  }

 private:
  // The memory may have been written beside the computation before, by what stands on the exchange stream.
  [[nodiscard]] Result<Request> copied_up() {
    CudaBackend& backend = owner_.backend();
    const std::span<std::byte> to = std::exchange(to_, {});
    MOESIM_TRY(order_streams(backend, backend.exchange_stream(), owner_.up_));
    MOESIM_TRY(backend.copy_in(owner_.up_, to.data(), out_->bytes().data(), size_of(to)));
    return request_behind(backend, owner_.up_);
  }

  StagedCommunicator& owner_;
  Pinned in_, out_;
  std::span<std::byte> to_;
  Start begin_;
  Request waiting_;
};

Result<std::unique_ptr<StagedCommunicator>> StagedCommunicator::make(CudaBackend& backend, Communicator& host) {
  std::unique_ptr<StagedCommunicator> made(new StagedCommunicator(backend, host));
  MOESIM_ASSIGN(made->down_, backend.create_stream());
  MOESIM_ASSIGN(made->up_, backend.create_stream());
  return made;
}

StagedCommunicator::~StagedCommunicator() {
  for (const DeviceStream stream : {down_, up_}) {
    if (stream.handle == nullptr) continue;
    static_cast<void>(backend().synchronize(stream));  // copies under way use the buffers
    backend().destroy_stream(stream);
  }
  drop_all();
}

Result<std::unique_ptr<DeviceSteps>> StagedCommunicator::make_steps(std::span<const std::byte> in,
                                                                    std::span<std::byte> out, Start begin) {
  MOESIM_ASSIGN(const Steps::Pinned pinned_in, pool_.take(in.size()));
  Steps::Pinned pinned_out = pinned_in;
  if (in.data() != out.data()) {
    MOESIM_ASSIGN(pinned_out, pool_.take(out.size()));
  }
  auto steps = std::make_unique<Steps>(*this, pinned_in, std::move(pinned_out), out, std::move(begin));
  MOESIM_TRY(steps->copy_down(in));
  return steps;
}

Request StagedCommunicator::stage(std::span<const std::byte> in, std::span<std::byte> out, Start begin) {
  if (!on_device(in) && !on_device(out)) return begin(in, out);
  return start(make_steps(in, out, std::move(begin)));
}

Request StagedCommunicator::all_to_all_v(const CommGroup& group, Channel channel, const ExchangeBuffers& buffers) {
  return stage(buffers.send, buffers.receive,
               [this, group, channel, sent = kept(buffers.send_bytes), received = kept(buffers.receive_bytes),
                algorithm = buffers.algorithm,
                all = kept(buffers.all_bytes)](std::span<const std::byte> in, std::span<std::byte> out) {
                 return host().all_to_all_v(group, channel, {in, sent, out, received, algorithm, all});
               });
}

Request StagedCommunicator::all_gather(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                       std::span<std::byte> all) {
  return stage(mine, all, [this, group, channel](std::span<const std::byte> in, std::span<std::byte> out) {
    return host().all_gather(group, channel, in, out);
  });
}

Request StagedCommunicator::all_gather_v(const CommGroup& group, Channel channel, std::span<const std::byte> mine,
                                         std::span<std::byte> all, std::span<const std::int64_t> bytes) {
  return stage(mine, all,
               [this, group, channel, counts = kept(bytes)](std::span<const std::byte> in, std::span<std::byte> out) {
                 return host().all_gather_v(group, channel, in, out, counts);
               });
}

Request StagedCommunicator::reduce_scatter(const CommGroup& group, Channel channel, Reduction how,
                                           std::span<const std::byte> all, std::span<std::byte> mine) {
  return stage(all, mine, [this, group, channel, how](std::span<const std::byte> in, std::span<std::byte> out) {
    return host().reduce_scatter(group, channel, how, in, out);
  });
}

Request StagedCommunicator::reduce_scatter_v(const CommGroup& group, Channel channel, Reduction how,
                                             std::span<const std::byte> all, std::span<std::byte> mine,
                                             std::span<const std::int64_t> elements) {
  return stage(
      all, mine,
      [this, group, channel, how, counts = kept(elements)](std::span<const std::byte> in, std::span<std::byte> out) {
        return host().reduce_scatter_v(group, channel, how, in, out, counts);
      });
}

Request StagedCommunicator::all_reduce(const CommGroup& group, Channel channel, Reduction how,
                                       std::span<std::byte> data) {
  return stage(data, data, [this, group, channel, how](std::span<const std::byte>, std::span<std::byte> out) {
    return host().all_reduce(group, channel, how, out);
  });
}

Request StagedCommunicator::broadcast(const CommGroup& group, Channel channel, RankId root, std::span<std::byte> data) {
  return stage(data, data, [this, group, channel, root](std::span<const std::byte>, std::span<std::byte> out) {
    return host().broadcast(group, channel, root, out);
  });
}

Request StagedCommunicator::send(RankId to, Channel channel, std::span<const std::byte> data) {
  return stage(data, {}, [this, to, channel](std::span<const std::byte> in, std::span<std::byte>) {
    return host().send(to, channel, in);
  });
}

Request StagedCommunicator::receive(RankId from, Channel channel, std::span<std::byte> data) {
  return stage({}, data, [this, from, channel](std::span<const std::byte>, std::span<std::byte> out) {
    return host().receive(from, channel, out);
  });
}

}  // namespace moesim
