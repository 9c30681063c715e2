#include "exec/comm/comm_group.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace moesim {
namespace {

// FNV-1a over the ranks, then the finalizer of SplitMix64, so that few bits of it serve as well as all.
std::uint64_t fingerprint_of(const std::vector<RankId>& members) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const RankId member : members) hash = (hash ^ static_cast<std::uint64_t>(member.value())) * 0x100000001b3u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

}  // namespace

Result<CommGroup> CommGroup::make(std::vector<RankId> members, RankId self, int world) {
  if (members.empty()) return fail(ErrorKind::kInternal, "a communication group without ranks");
  for (const RankId member : members)
    if (!member.valid() || member.value() >= world)
      return fail(ErrorKind::kInternal, fmt::format("rank {} in the group {} is none of the world's {} ranks",
                                                    member.value(), ranks_to_text(members), world));
  std::vector<RankId> sorted = members;
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end())
    return fail(ErrorKind::kInternal,
                fmt::format("rank {} stands twice in the group {}", twice->value(), ranks_to_text(members)));
  const auto own = std::ranges::find(members, self);
  if (own == members.end())
    return fail(ErrorKind::kInternal, fmt::format("rank {} asks for the group {}, to which it does not belong",
                                                  self.value(), ranks_to_text(members)));
  auto data = std::make_shared<Data>();
  data->position = static_cast<int>(own - members.begin());
  data->fingerprint = fingerprint_of(members);
  data->members = std::move(members);
  return CommGroup(std::move(data));
}

std::string ranks_to_text(const std::vector<RankId>& ranks) {
  std::string text = "[";
  for (const RankId rank : ranks) text += fmt::format("{}{}", text.size() > 1 ? " " : "", rank.value());
  return text + "]";
}

}  // namespace moesim
