#include "exec/run/batch.hpp"

#include <memory>
#include <utility>

#include "traces/random.hpp"

namespace moesim {
namespace {

// Positions that a CP rank holds of each sequence.
std::vector<std::int32_t> positions_of(const Plan& plan, int cp) {
  const auto length = static_cast<std::int32_t>(plan.seq_length);
  std::vector<std::int32_t> positions;
  const auto add = [&](std::int32_t first, std::int32_t count) {
    for (std::int32_t p = first; p < first + count; ++p) positions.push_back(p);
  };
  if (plan.sizes().cp == 1) {
    add(0, length);
    return positions;
  }
  const std::int32_t pieces = 2 * plan.sizes().cp;
  const std::int32_t piece = length / pieces;
  add(cp * piece, piece);
  add((pieces - 1 - cp) * piece, piece);
  return positions;
}

}  // namespace

TokenPlaces MicroBatchRows::queries() const { return {index_view(positions), index_view(sequences)}; }
TokenPlaces MicroBatchRows::keys() const { return {index_view(key_positions), index_view(key_sequences)}; }

SequenceSource synthetic_sequences(std::int64_t vocab, std::uint64_t seed) {
  return [vocab, seed](std::int64_t sequence, std::int64_t length) {
    const auto size = static_cast<std::uint64_t>(vocab);
    Pcg32 random(seed, static_cast<std::uint64_t>(sequence));
    std::vector<std::int32_t> tokens;
    std::uint64_t token = random.below(static_cast<std::uint32_t>(size));
    for (std::int64_t p = 0; p < length; ++p) {
      tokens.push_back(static_cast<std::int32_t>(token));
      token = random.below(8) == 0 ? random.below(static_cast<std::uint32_t>(size)) : (5 * token + 3) % size;
    }
    return tokens;
  };
}

SequenceSource text_sequences(std::string text, std::uint64_t seed) {
  return
      [text = std::make_shared<const std::string>(std::move(text)), seed](std::int64_t sequence, std::int64_t length) {
        std::size_t place = splitmix64(seed ^ splitmix64(static_cast<std::uint64_t>(sequence))) % text->size();
        std::vector<std::int32_t> tokens;
        for (std::int64_t p = 0; p < length; ++p) {
          tokens.push_back(static_cast<unsigned char>((*text)[place]));
          place = (place + 1) % text->size();
        }
        return tokens;
      };
}

MicroBatchRows micro_batch_rows(const Plan& plan, const Layout::Coordinates& at, std::int64_t step,
                                std::int32_t micro_batch, const SequenceSource& source) {
  MicroBatchRows rows;
  const std::vector<std::int32_t> own = positions_of(plan, at.cp);
  const std::int64_t first =
      step * plan.global_batch + (static_cast<std::int64_t>(micro_batch) * plan.sizes().dp + at.dp) * plan.micro_batch;
  for (std::int32_t b = 0; b < plan.micro_batch; ++b) {
    const std::vector<std::int32_t> tokens = source(first + b, plan.seq_length + 1);
    for (const std::int32_t position : own) {
      rows.tokens.push_back(tokens[static_cast<std::size_t>(position)]);
      rows.labels.push_back(tokens[static_cast<std::size_t>(position) + 1]);
      rows.positions.push_back(position);
      rows.sequences.push_back(b);
    }
  }
  for (int cp = 0; cp < plan.sizes().cp; ++cp) {
    const std::vector<std::int32_t> theirs = positions_of(plan, cp);
    for (std::int32_t b = 0; b < plan.micro_batch; ++b)
      for (const std::int32_t position : theirs) {
        rows.key_positions.push_back(position);
        rows.key_sequences.push_back(b);
      }
  }
  return rows;
}

}  // namespace moesim
