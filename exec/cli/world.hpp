// The ranks of a run: the processes that mpirun started, with one rank in each, or those that this one forks, or else threads of
// this process.
//
// Process 0 leads: it reports, and of an error that all know it alone speaks. An error of one rank ends the others: threads
// return, processes are ended by the launcher after this one has said why.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "exec/comm/communicator.hpp"
#include "exec/comm/forked_ranks.hpp"

namespace moesim {

class World {
 public:
  // `program` is the name that errors begin with; `timeout`: nobody has heard anything for so long while waiting.
  [[nodiscard]] static Result<World> join(std::string program, Seconds timeout);
  // Makes so many processes of this one, without a launcher; it returns in each (exec/comm/forked_ranks.hpp).
  [[nodiscard]] static Result<World> fork(std::string program, Seconds timeout, int processes);

  [[nodiscard]] bool has_processes() const { return comm_ != nullptr; }
  // Ranks that there are; 0: as many threads as are asked for.
  [[nodiscard]] int size() const { return comm_ ? comm_->size() : 0; }
  [[nodiscard]] bool leads() const { return !comm_ || comm_->rank() == RankId(0); }
  // Whether a rank will run on this machine.
  [[nodiscard]] bool is_here(RankId rank) const;

  // What the ranks' communicators are made with.
  [[nodiscard]] const CommOptions& comm_options() const { return options_; }
  // See exec/run/training.hpp. With threads there is one set of preparations.
  [[nodiscard]] Status agree(const Status& mine, std::uint64_t fingerprint);
  // `rank_main` on `ranks` ranks, which must be size() where that is not 0. The first error.
  [[nodiscard]] Status run(int ranks, const std::function<Status(Communicator&)>& rank_main);

 private:
  World(std::string program, CommOptions options) : program_(std::move(program)), options_(std::move(options)) {}
  // Where ranks outnumber cores.
  void take_naps();

  std::string program_;
  CommOptions options_;
  std::unique_ptr<Communicator> launched_;
  std::unique_ptr<ForkedRanks> forked_;
  Communicator* comm_ = nullptr;  // of one of these two; none with threads
};

// Whether all ranks are ready; of an error that all know the process that leads alone makes its own, the others have kStop.
enum class NextStep : std::uint8_t { kGoOn, kStop };
[[nodiscard]] Result<NextStep> agree_to_start(World& world, const Status& ready, std::uint64_t fingerprint);

// The clock of this machine.
[[nodiscard]] Clock steady_clock();
// What the system could still give; an error where it does not say.
[[nodiscard]] Result<Bytes> available_memory();

}  // namespace moesim
