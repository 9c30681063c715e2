#include "exec/record/training_text.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "traces/random.hpp"

namespace moesim {
namespace {

using Words = std::span<const std::string_view>;

class Writer {
 public:
  explicit Writer(std::uint64_t number) : random_(number, 0x7e87) {}

  [[nodiscard]] int between(int least, int most) {
    return least + static_cast<int>(random_.below(static_cast<std::uint32_t>(most - least + 1)));
  }
  [[nodiscard]] bool one_in(std::uint32_t n) { return random_.below(n) == 0; }
  // Words that stand first come more often, as in any language.
  [[nodiscard]] std::string_view pick(Words words) {
    const auto size = static_cast<std::uint32_t>(words.size());
    return words[random_.below(random_.below(size) + 1)];
  }
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }
  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  Pcg32 random_;
  std::string text_;
};

// ---- prose

constexpr std::string_view kNouns[] = {
    "house",   "river",  "road",    "woman",   "man",     "door",    "child",   "garden", "ship",   "letter",
    "town",    "horse",  "winter",  "bridge",  "lamp",    "miller",  "field",   "stone",  "window", "captain",
    "forest",  "market", "bell",    "island",  "teacher", "machine", "morning", "coat",   "wall",   "dog",
    "kitchen", "farmer", "harbour", "basket",  "storm",   "tailor",  "summer",  "engine", "sister", "valley",
    "train",   "clock",  "widow",   "orchard", "hammer",  "ladder",  "singer",  "tower",  "kettle", "guest",
    "wheel",   "rope",   "pilot",   "cellar",  "mirror",  "fence",   "candle",  "goat",   "doctor", "violin"};
constexpr std::string_view kVerbs[] = {
    "saw",    "found",   "carried",  "left",   "opened",  "watched",  "followed",  "built",      "forgot", "sold",
    "kept",   "painted", "mended",   "heard",  "crossed", "wanted",   "described", "remembered", "lifted", "counted",
    "closed", "moved",   "answered", "feared", "cleaned", "borrowed", "measured",  "hid",        "drew",   "praised"};
constexpr std::string_view kAdjectives[] = {"old",   "small",  "quiet",  "dark",    "new",   "heavy",  "cold",
                                            "broad", "green",  "broken", "distant", "empty", "bright", "narrow",
                                            "warm",  "gentle", "rusty",  "tired",   "proud", "wooden"};
constexpr std::string_view kPlaces[] = {"near", "behind", "under", "beside", "above", "beyond", "inside", "across"};
constexpr std::string_view kTimes[] = {"in the morning", "at night",     "before the rain", "every spring",
                                       "last year",      "after dinner", "on Sunday",       "without a word"};
constexpr std::string_view kLinks[] = {"and", "but", "because", "while", "although", "so", "until"};

void noun_phrase(Writer& w) {
  w.add("{} ", w.one_in(3) ? "every" : "the");
  if (w.one_in(3)) w.add("{} ", w.pick(kAdjectives));
  w.add("{}", w.pick(kNouns));
  if (w.one_in(5)) w.add(" {} the {}", w.pick(kPlaces), w.pick(kNouns));
}

void clause(Writer& w) {
  noun_phrase(w);
  w.add(" {} ", w.pick(kVerbs));
  noun_phrase(w);
  if (w.one_in(4)) w.add(" {}", w.pick(kTimes));
}

std::string prose(Writer w) {
  for (int paragraph = w.between(1, 3); paragraph > 0; --paragraph) {
    for (int sentence = w.between(3, 8); sentence > 0; --sentence) {
      w.add("{}", w.one_in(4) ? "Then " : w.one_in(5) ? "Perhaps " : "Here ");
      clause(w);
      if (w.one_in(3)) {
        w.add(", {} ", w.pick(kLinks));
        clause(w);
      }
      w.add("{}", sentence == 1 ? ".\n" : ". ");
    }
  }
  return std::move(w).take();
}

// ---- code

constexpr std::string_view kVariables[] = {"i", "n", "x", "total", "count", "limit", "left", "right", "best", "index"};
constexpr std::string_view kFunctions[] = {"scan", "merge", "fold", "shift", "next_of", "split_at", "apply", "visit"};
constexpr std::string_view kOperators[] = {"+", "-", "*", "/", "%"};
constexpr std::string_view kRelations[] = {"<", "==", "<=", "!=", ">"};

void expression(Writer& w) {
  if (w.one_in(4)) {
    w.add("{}({}, {})", w.pick(kFunctions), w.pick(kVariables), w.between(0, 9));
    return;
  }
  w.add("{}", w.pick(kVariables));
  if (!w.one_in(3)) w.add(" {} {}", w.pick(kOperators), w.between(1, 99));
}

void block(Writer& w, int depth) {
  const std::string indent(static_cast<std::size_t>(2 * depth), ' ');
  for (int lines = w.between(1, 4); lines > 0; --lines) {
    const bool nests = depth < 4 && w.one_in(3);
    if (!nests) {
      w.add("{}{} := ", indent, w.pick(kVariables));
      expression(w);
      w.add(";\n");
      continue;
    }
    w.add("{}{} {} {} ", indent, w.one_in(2) ? "if" : "while", w.pick(kVariables), w.pick(kRelations));
    expression(w);
    w.add(" {{\n");
    block(w, depth + 1);
    w.add("{}}}\n", indent);
  }
}

std::string code(Writer w) {
  for (int functions = w.between(1, 4); functions > 0; --functions) {
    w.add("fn {}({}, {}) {{\n", w.pick(kFunctions), w.pick(kVariables), w.pick(kVariables));
    block(w, 1);
    w.add("  return ");
    expression(w);
    w.add(";\n}}\n");
  }
  return std::move(w).take();
}

// ---- tables and arithmetic

constexpr std::string_view kColumns[] = {"north", "south", "east", "west", "upper", "lower"};

std::string table(Writer w) {
  const int columns = w.between(2, 4);
  w.add("id,day");
  for (int c = 0; c < columns; ++c) w.add(",{}", kColumns[static_cast<std::size_t>(c)]);
  w.add(",sum\n");
  const int first = w.between(100, 900);
  for (int row = 0, rows = w.between(8, 30); row < rows; ++row) {
    w.add("{},{:02}", first + row, row % 28 + 1);
    int sum = 0;
    for (int c = 0; c < columns; ++c) {
      const int value = w.between(0, 99);
      sum += value;
      w.add(",{}", value);
    }
    w.add(",{}\n", sum);
  }
  return std::move(w).take();
}

std::string arithmetic(Writer w) {
  for (int lines = w.between(15, 50); lines > 0; --lines) {
    const int a = w.between(0, 99);
    const int b = w.between(0, 99);
    switch (w.between(0, 2)) {
      case 0: w.add("{} + {} = {}\n", a, b, a + b); break;
      case 1: w.add("{} - {} = {}\n", a + b, b, a); break;
      default: w.add("{} x {} = {}\n", a % 13, b % 13, (a % 13) * (b % 13)); break;
    }
  }
  return std::move(w).take();
}

// ---- invented language: subject, object, verb; the verb ends as the subject does

constexpr std::string_view kSyllables[] = {"ka", "zu",  "mi", "ro", "thel", "qua", "vey", "os",  "xi",  "dro",
                                           "ul", "gha", "pe", "yn", "sho",  "bri", "wom", "fje", "lak", "ez"};
constexpr std::string_view kEndings[] = {"-um", "-ika", "-oth"};

std::string invented(Writer w) {
  const auto word = [&w] {
    for (int syllables = w.between(1, 3); syllables > 0; --syllables) w.add("{}", w.pick(kSyllables));
  };
  for (int sentence = w.between(8, 25); sentence > 0; --sentence) {
    const std::string_view ending = w.pick(kEndings);
    word();
    w.add("{} ", ending);
    for (int objects = w.between(1, 3); objects > 0; --objects) {
      word();
      w.add("-en ");
    }
    word();
    w.add("a{}{}", ending, sentence == 1 || w.one_in(4) ? " !\n" : " / ");
  }
  return std::move(w).take();
}

// ---- brackets

std::string brackets(Writer w) {
  constexpr std::array<std::string_view, 4> kPairs = {"()", "[]", "{}", "<>"};
  constexpr std::size_t kLineBytes = 60;
  std::string open;  // what must still be closed
  std::size_t written = 0;
  for (int left = w.between(150, 600); left > 0 || !open.empty(); --left) {
    const bool closes = !open.empty() && (left <= 0 || open.size() >= 12 || w.one_in(2));
    if (closes) {
      w.add("{}", open.back());
      open.pop_back();
    } else {
      const std::string_view pair = w.pick(kPairs);
      w.add("{}", pair[0]);
      open += pair[1];
    }
    if (++written % kLineBytes == 0) w.add("\n");
  }
  w.add("\n");
  return std::move(w).take();
}

TextKind kind_of(std::uint32_t percent) {
  constexpr std::array<std::uint32_t, kTextKinds> kUpTo = {30, 55, 70, 85, 95, 100};
  int kind = 0;
  while (percent >= kUpTo[static_cast<std::size_t>(kind)]) ++kind;
  return static_cast<TextKind>(kind);
}

}  // namespace

std::string text_document(TextKind kind, std::uint64_t number) {
  Writer writer(number);
  switch (kind) {
    case TextKind::kProse: return prose(std::move(writer));
    case TextKind::kCode: return code(std::move(writer));
    case TextKind::kTable: return table(std::move(writer));
    case TextKind::kArithmetic: return arithmetic(std::move(writer));
    case TextKind::kInvented: return invented(std::move(writer));
    case TextKind::kBrackets: return brackets(std::move(writer));
  }
  MOESIM_ASSERT(false);
}

std::string bundled_text() {
  std::string text;
  text.reserve(kBundledTextBytes + 4096);
  for (std::uint64_t number = 0; text.size() < kBundledTextBytes; ++number) {
    const auto percent = static_cast<std::uint32_t>(splitmix64(number) % 100);
    text += text_document(kind_of(percent), number);
    text += '\n';
  }
  text.resize(kBundledTextBytes);
  return text;
}

}  // namespace moesim
