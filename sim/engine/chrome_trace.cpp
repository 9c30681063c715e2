#include "sim/engine/chrome_trace.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <nlohmann/json.hpp>

#include "sim/engine/trace_sink.hpp"

namespace moesim {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 16;

// Quoted and escaped; bytes that are not UTF-8 become U+FFFD. Nearly every text is plain and needs no escape.
std::string quote(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
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
    MOESIM_TRY(sink_.write(text_));
    text_.clear();
    return {};
  }

  // Opens an event; every event is a line of its own.
  void begin(std::string_view phase, std::uint32_t pid) {
    add_text(first_ ? "\n" : ",\n");
    first_ = false;
    add("{{\"ph\":\"{}\",\"pid\":{}", phase, pid);
  }
  void add_time(std::string_view key, Picoseconds time) {
    add(",\"{}\":{}.{:06}", key, time / 1'000'000, time % 1'000'000);
  }

  void select_entities() {
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
    const SliceLabel label = trace_.label(interval.entity, call.block, interval.op);
    const bool lasts = interval.end > interval.start;
    begin(lasts ? "X" : "i", interval.entity);
    add(",\"tid\":{}", static_cast<unsigned>(op.stream));
    add_time("ts", interval.start);
    if (lasts) {
      add_time("dur", interval.end - interval.start);
    } else {
      add_text(",\"s\":\"t\"");
    }
    add(",\"name\":{}", quote(label.name));
    if (!label.category.empty()) add(",\"cat\":{}", quote(label.category));
    add_arguments(label, call.micro_batch);
    add_text("}");
    if (op.op_class == ReplayOpClass::kSend || op.op_class == ReplayOpClass::kReceive) add_flow(interval, op);
  }

  void add_arguments(const SliceLabel& label, std::int32_t micro_batch) {
    char separator = '{';
    const auto argument = [&](std::string_view key, const auto& value) {
      add("{}\"{}\":{}", separator, key, value);
      separator = ',';
    };
    add_text(",\"args\":");
    if (label.layer >= 0) argument("layer", label.layer);
    if (micro_batch >= 0) argument("micro_batch", micro_batch);
    if (label.bytes >= 0) argument("bytes", label.bytes);
    if (label.flop >= 0 && std::isfinite(label.flop)) argument("flop", label.flop);
    if (!label.group.empty()) argument("group", quote(label.group));
    add_text(separator == '{' ? "{}" : "}");
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
    add_time("ts", sends ? interval.start : interval.start + (interval.end - interval.start) / 2);
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
      add_time("ts", point.time);
      add(",\"name\":{},\"args\":{{{}:{}}}}}", name, unit, point.value);
      MOESIM_TRY(pass_on(kPiece));
    }
    return {};
  }

  const ChromeTrace& trace_;
  const ReplayProgram& program_;
  TraceSink sink_;
  std::string text_;
  bool first_ = true;
  std::vector<bool> selected_;             // by entity
  std::vector<std::uint64_t> first_slot_;  // by entity: its first channel slot among all
  std::vector<std::uint64_t> transfers_;   // by channel slot: how many have ended
};

}  // namespace

Status write_chrome_trace(const ChromeTrace& trace, const std::string& path) {
  MOESIM_ASSIGN(TraceSink sink, TraceSink::create(path));
  return ChromeTraceWriter(trace, std::move(sink)).write();
}

}  // namespace moesim
