#include "sim/engine/chrome_trace.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <future>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "sim/engine/trace_sink.hpp"

namespace moesim {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

// Quoted and escaped; bytes that are not UTF-8 become U+FFFD. Nearly every text is plain and needs no escape.
std::string quote(std::string_view text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
  if (plain) return fmt::format("\"{}\"", text);
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

class ChromeTraceWriter {
 public:
  ChromeTraceWriter(const ChromeTrace& trace, TraceSink sink)
      : trace_(trace), program_(*trace.program), sink_(std::move(sink)) {}

  Status write() {
    select_entities();
    add_text("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[");
    for (std::uint32_t entity = 0; entity < selected_.size(); ++entity) {
      if (selected_[entity]) add_names(entity);
    }
    for (const Interval& interval : trace_.result->intervals) {
      if (selected_[interval.entity]) add_interval(interval);
      MOESIM_TRY(pass_on(kPiece));
    }
    for (const CounterSeries& series : trace_.counters) MOESIM_TRY(add_counter(series));
    add_text("\n],\"metadata\":{");
    for (std::size_t i = 0; i < trace_.metadata.size(); ++i) {
      add("{}\n{}:{}", i == 0 ? "" : ",", quote(trace_.metadata[i].first), quote(trace_.metadata[i].second));
    }
    add_text("}}\n");
    MOESIM_TRY(pass_on(0));
    MOESIM_TRY(passed_on());
    return sink_.commit();
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }
  void add_text(std::string_view text) { text_ += text; }

  Status pass_on(std::size_t at_least) {
    if (text_.size() < at_least) return {};
    MOESIM_TRY(passed_on());
    std::swap(text_, piece_);
    text_.clear();
    // Compressing takes longer than writing the text: it goes on beside the next piece.
    writing_ = std::async(std::launch::async, [this] { return sink_.write(piece_); });
    return {};
  }

  // Waits for the piece under way.
  Status passed_on() { return writing_.valid() ? writing_.get() : Status{}; }

  // Opens an event; every event is a line of its own.
  void begin(std::string_view phase, std::uint32_t pid) {
    add_text(first_ ? "\n" : ",\n");
    first_ = false;
    add_text("{\"ph\":\"");
    add_text(phase);
    add_text("\",\"pid\":");
    add_number(pid);
  }
  void add_number(std::int64_t number) {
    const fmt::format_int text(number);
    text_.append(text.data(), text.size());
  }
  // Microseconds with six digits.
  void add_time(std::string_view key, Picoseconds time) {
    add_text(key);
    add_number(time / 1'000'000);
    std::array<char, 7> fraction = {'.', '0', '0', '0', '0', '0', '0'};
    Picoseconds rest = time % 1'000'000;
    for (std::size_t digit = fraction.size() - 1; rest > 0; --digit, rest /= 10)
      fraction[digit] = static_cast<char>('0' + rest % 10);
    text_.append(fraction.data(), fraction.size());
  }

  void select_entities() {
    labels_.resize(program_.entities.size());
    for (auto& of_entity : labels_) of_entity.resize(program_.blocks.size());
    selected_.assign(program_.entities.size(), trace_.entities.empty());
    for (const std::uint32_t entity : trace_.entities) {
      if (entity < selected_.size()) selected_[entity] = true;
    }
    std::uint64_t slots = 0;
    for (const ReplayEntity& entity : program_.entities) {
      first_slot_.push_back(slots);
      slots += entity.channels.size();
    }
    transfers_.assign(slots, 0);
  }

  void add_names(std::uint32_t entity) {
    begin("M", entity);
    add(",\"name\":\"process_name\",\"args\":{{\"name\":{}}}}}", quote(trace_.entity_name(entity)));
    begin("M", entity);
    add(",\"name\":\"process_sort_index\",\"args\":{{\"sort_index\":{}}}}}", entity);
    std::uint32_t used = 0;
    for (const ReplayCall& call : program_.entities[entity].calls) {
      for (const ReplayOp& op : program_.blocks[call.block].ops) used |= stream_bit(op.stream);
    }
    for (unsigned stream = 0; stream < kStreams; ++stream) {
      if ((used >> stream & 1U) == 0) continue;
      begin("M", entity);
      add(",\"tid\":{},\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}", stream,
          stream_name(static_cast<Stream>(stream)));
      begin("M", entity);
      add(",\"tid\":{},\"name\":\"thread_sort_index\",\"args\":{{\"sort_index\":{}}}}}", stream, stream);
    }
  }

  void add_interval(const Interval& interval) {
    const ReplayCall& call = program_.entities[interval.entity].calls[interval.call];
    const ReplayOp& op = program_.blocks[call.block].ops[interval.op];
    const LabelText& label = label_of(interval, call.block);
    const bool lasts = interval.end > interval.start;
    begin(lasts ? "X" : "i", interval.entity);
    add_text(",\"tid\":");
    add_number(static_cast<std::int64_t>(op.stream));
    add_time(",\"ts\":", interval.start);
    if (lasts) {
      add_time(",\"dur\":", interval.end - interval.start);
    } else {
      add_text(",\"s\":\"t\"");
    }
    add_text(label.before);
    if (call.micro_batch >= 0) {
      add_text(label.micro_batch);
      add_number(call.micro_batch);
      add_text(label.after_micro_batch);
    } else {
      add_text(label.after);
    }
    if (op.op_class == ReplayOpClass::kSend || op.op_class == ReplayOpClass::kReceive) add_flow(interval, op);
  }

  // An operation is written hundreds of times, with another micro-batch each time: what stays the same is made once.
  struct LabelText {
    std::string before;             // name, category, and the arguments before the micro-batch
    std::string micro_batch;        // its key
    std::string after;              // the other arguments, where there is no micro-batch,
    std::string after_micro_batch;  // and where there is one
  };

  const LabelText& label_of(const Interval& interval, std::uint32_t block) {
    std::vector<std::optional<LabelText>>& of_block = labels_[interval.entity][block];
    of_block.resize(program_.blocks[block].ops.size());
    std::optional<LabelText>& text = of_block[interval.op];
    if (!text) text = label_text(trace_.label(interval.entity, block, interval.op));
    return *text;
  }

  static LabelText label_text(const SliceLabel& label) {
    LabelText text;
    text.before = fmt::format(",\"name\":{}", quote(label.name));
    if (!label.category.empty()) text.before += fmt::format(",\"cat\":{}", quote(label.category));
    text.before += ",\"args\":{";
    if (label.layer >= 0) text.before += fmt::format("\"layer\":{}", label.layer);
    text.micro_batch = fmt::format("{}\"micro_batch\":", label.layer >= 0 ? "," : "");
    std::vector<std::string> others;
    if (label.bytes >= 0) others.push_back(fmt::format("\"bytes\":{}", label.bytes));
    if (label.flop >= 0 && std::isfinite(label.flop)) others.push_back(fmt::format("\"flop\":{}", label.flop));
    if (!label.group.empty()) others.push_back(fmt::format("\"group\":{}", quote(label.group)));
    const std::string joined = fmt::format("{}", fmt::join(others, ","));
    text.after = fmt::format("{}{}}}}}", label.layer >= 0 && !others.empty() ? "," : "", joined);
    text.after_micro_batch = fmt::format("{}{}}}}}", others.empty() ? "" : ",", joined);
    return text;
  }

  // Both ends carry the number of the transfer. A viewer binds an arrow to the slice that encloses its time, so the head
  // stands in the middle of the receive.
  void add_flow(const Interval& interval, const ReplayOp& op) {
    const bool sends = op.op_class == ReplayOpClass::kSend;
    const std::uint64_t sequence = transfers_[first_slot_[interval.entity] + op.group]++;
    const auto peer = static_cast<std::uint32_t>(program_.entities[interval.entity].channels[op.group]);
    if (!selected_[peer] || interval.end == interval.start) return;
    const std::uint64_t channel = first_slot_[sends ? interval.entity : peer] + (sends ? op.group : op.group ^ 1U);
    begin(sends ? "s" : "f", interval.entity);
    add(",\"tid\":{}", static_cast<unsigned>(op.stream));
    add_time(",\"ts\":", sends ? interval.start : interval.start + (interval.end - interval.start) / 2);
    add(",\"id\":{},\"name\":\"transfer\",\"cat\":\"flow\"{}}}", sequence * transfers_.size() + channel,
        sends ? "" : ",\"bp\":\"e\"");
  }

  Status add_counter(const CounterSeries& series) {
    if (series.entity >= selected_.size() || !selected_[series.entity]) return {};
    const std::string name = quote(series.name);
    const std::string unit = quote(series.unit);
    for (const CounterPoint& point : series.points) {
      MOESIM_ASSERT(std::isfinite(point.value));
      begin("C", series.entity);
      add_time(",\"ts\":", point.time);
      add(",\"name\":{},\"args\":{{{}:{}}}}}", name, unit, point.value);
      MOESIM_TRY(pass_on(kPiece));
    }
    return {};
  }

  const ChromeTrace& trace_;
  const ReplayProgram& program_;
  TraceSink sink_;
  std::string text_;
  std::string piece_;  // being written
  std::future<Status> writing_;
  bool first_ = true;
  std::vector<std::vector<std::vector<std::optional<LabelText>>>> labels_;  // by entity, block, operation
  std::vector<bool> selected_;                                              // by entity
  std::vector<std::uint64_t> first_slot_;  // by entity: its first channel slot among all
  std::vector<std::uint64_t> transfers_;   // by channel slot: how many have ended
};

}  // namespace

Status write_chrome_trace(const ChromeTrace& trace, const std::string& path) {
  MOESIM_ASSIGN(TraceSink sink, TraceSink::create(path));
  return ChromeTraceWriter(trace, std::move(sink)).write();
}

}  // namespace moesim
