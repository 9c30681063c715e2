#include "sim/report/table_printer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "sim/report/display_width.hpp"

namespace moesim {
namespace {

constexpr std::string_view kGap = "  ";

std::string_view escape_of(RowTone tone) {
  switch (tone) {
    case RowTone::kPlain: return "";
    case RowTone::kGood: return "\x1b[32m";
    case RowTone::kBad: return "\x1b[31m";
    case RowTone::kFaint: return "\x1b[2m";
  }
  return "";
}
constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kPlain = "\x1b[0m";

std::string coloured(std::string_view text, std::string_view escape, Colour colour) {
  if (colour == Colour::kOff || escape.empty()) return std::string(text);
  return fmt::format("{}{}{}", escape, text, kPlain);
}

std::string without_trailing_blanks(std::string text) {
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

// The cells a person sees, column by column.
struct TextColumn {
  const MetricColumn* column = nullptr;
  std::vector<std::string> cells;
  Align align = Align::kLeft;
  std::size_t width = 0;
};

std::vector<TextColumn> shown_columns(const MetricTable& table) {
  std::vector<TextColumn> columns;
  for (std::size_t i = 0; i < table.columns().size(); ++i) {
    const MetricColumn& column = table.columns()[i];
    if (column.shown == MetricShown::kMachinesOnly) continue;
    TextColumn text{&column, {}, Align::kLeft, display_width(column.title)};
    for (const MetricRow& row : table.rows()) {
      text.cells.push_back(printable(display_text(row.values[i], column.unit)));
      text.width = std::max(text.width, display_width(text.cells.back()));
      if (is_number(row.values[i])) text.align = Align::kRight;
    }
    columns.push_back(std::move(text));
  }
  return columns;
}

std::string joined(const std::vector<TextColumn>& columns, auto&& cell_of) {
  std::string line;
  for (const TextColumn& column : columns) {
    if (!line.empty()) line += kGap;
    line += padded(cell_of(column), column.width, column.align);
  }
  return without_trailing_blanks(std::move(line));
}

std::string rows_text(const MetricTable& table, const TableStyle& style) {
  const std::vector<TextColumn> columns = shown_columns(table);
  std::string text =
      coloured(joined(columns, [](const TextColumn& c) { return c.column->title; }), kBold, style.colour) + "\n";
  for (std::size_t row = 0; row < table.rows().size(); ++row) {
    const std::string line = joined(columns, [row](const TextColumn& c) { return c.cells[row]; });
    text += coloured(line, escape_of(table.rows()[row].tone), style.colour) + "\n";
  }
  return text;
}

std::string record_text(const MetricTable& table) {
  const std::vector<TextColumn> columns = shown_columns(table);
  std::size_t width = 0;
  for (const TextColumn& column : columns) width = std::max(width, display_width(column.column->title));
  std::string text;
  for (const TextColumn& column : columns)
    for (const std::string& cell : column.cells)
      text +=
          without_trailing_blanks(padded(column.column->title, width, Align::kLeft) + std::string(kGap) + cell) + "\n";
  return text;
}

std::string legend_text(const MetricTable& table) {
  std::size_t width = 0;
  for (const MetricColumn& column : table.columns()) width = std::max(width, display_width(column.title));
  std::string text;
  for (const MetricColumn& column : table.columns())
    if (column.shown != MetricShown::kMachinesOnly && !column.description.empty())
      text += fmt::format("  {}  {}\n", padded(column.title, width, Align::kLeft), column.description);
  return text;
}

std::string section_text(const Section& section, const TableStyle& style) {
  std::string text;
  if (!section.title.empty()) text += coloured(section.title, kBold, style.colour) + "\n";
  text += section.kind == SectionKind::kRecord ? record_text(section.table) : rows_text(section.table, style);
  if (style.legend == Legend::kOn) {
    const std::string legend = legend_text(section.table);
    if (!legend.empty()) text += "\n" + legend;
  }
  return text;
}

std::string markdown_cell(std::string_view text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|' || c == '\\') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string markdown_line(const std::vector<TextColumn>& columns, auto&& cell_of) {
  std::string line = "|";
  for (const TextColumn& column : columns) line += fmt::format(" {} |", markdown_cell(cell_of(column)));
  return line + "\n";
}

std::string markdown_table(const Section& section) {
  if (section.kind == SectionKind::kRecord) {
    std::string text = "| | |\n|---|---|\n";
    for (const TextColumn& column : shown_columns(section.table))
      for (const std::string& cell : column.cells)
        text += fmt::format("| {} | {} |\n", markdown_cell(column.column->title), markdown_cell(cell));
    return text;
  }
  const std::vector<TextColumn> columns = shown_columns(section.table);
  std::string text = markdown_line(columns, [](const TextColumn& c) { return c.column->title; });
  text += "|";
  for (const TextColumn& column : columns) text += column.align == Align::kRight ? "---:|" : "---|";
  text += "\n";
  for (std::size_t row = 0; row < section.table.rows().size(); ++row)
    text += markdown_line(columns, [row](const TextColumn& c) { return c.cells[row]; });
  return text;
}

void append_block(std::string& text, const std::string& block) {
  if (block.empty()) return;
  if (!text.empty()) text += "\n";
  text += block;
}

}  // namespace

std::string to_text(const MetricTable& table, const TableStyle& style) { return rows_text(table, style); }

std::string to_text(const Report& report, const TableStyle& style) {
  std::string text;
  for (const std::string& line : report.drawing.lines) text += line + "\n";
  for (const Section& section : report.sections)
    if (section.shown != SectionShown::kMachinesOnly && !section.table.rows().empty())
      append_block(text, section_text(section, style));
  std::string notes;
  for (const std::string& note : report.notes) notes += fmt::format("note: {}\n", printable(note));
  append_block(text, notes);
  return text;
}

std::string to_markdown(const Report& report) {
  std::string text;
  if (!report.drawing.lines.empty()) text += fmt::format("```\n{}\n```\n", fmt::join(report.drawing.lines, "\n"));
  for (const Section& section : report.sections) {
    if (section.shown == SectionShown::kMachinesOnly || section.table.rows().empty()) continue;
    append_block(text, (section.title.empty() ? std::string() : fmt::format("### {}\n\n", section.title)) +
                           markdown_table(section));
  }
  std::string notes;
  for (const std::string& note : report.notes) notes += fmt::format("- note: {}\n", printable(note));
  append_block(text, notes);
  return text;
}

}  // namespace moesim
