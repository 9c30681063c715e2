// Who takes part in a collective: an ordered list of ranks, the same list on every member.
//
// A member's position in the list is the place of its block in buffers. Two lists with the same ranks in another order are two
// groups. Made by Communicator::group, which checks the list; cheap to copy. Ranks never exchange group numbers: the
// fingerprint follows from the list alone and so agrees on all members.
//
// Example: the list {4, 0, 2} on rank 0 is a group of size 3 in which this rank has position 1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/ids.hpp"

namespace moesim {

class CommGroup {
 public:
  // The group of `members` seen from rank `self` of a world of `world` ranks. Errors: empty list, a rank outside of the world
  // or named twice, `self` not among them.
  [[nodiscard]] static Result<CommGroup> make(std::vector<RankId> members, RankId self, int world);

  [[nodiscard]] int size() const { return static_cast<int>(data_->members.size()); }
  [[nodiscard]] int position() const { return data_->position; }
  [[nodiscard]] RankId self() const { return member(position()); }
  [[nodiscard]] RankId member(int position) const { return data_->members[static_cast<std::size_t>(position)]; }
  // The member `steps` places behind this rank, round the list; negative steps go before it.
  [[nodiscard]] RankId neighbour(int steps) const { return member(place(steps)); }
  [[nodiscard]] int place(int steps) const { return ((position() + steps) % size() + size()) % size(); }
  [[nodiscard]] const std::vector<RankId>& members() const { return data_->members; }
  [[nodiscard]] std::uint64_t fingerprint() const { return data_->fingerprint; }

 private:
  struct Data {
    std::vector<RankId> members;
    int position = 0;
    std::uint64_t fingerprint = 0;
  };
  explicit CommGroup(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

// "[4 0 2]"
[[nodiscard]] std::string ranks_to_text(const std::vector<RankId>& ranks);

}  // namespace moesim
