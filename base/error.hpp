// Errors as values. A function that can fail on user input returns Result<T>; our own bugs use MOESIM_ASSERT.
//
// The message names the thing and what is wrong with it, `where` the place (file:line or file#/json/pointer),
// `hint` the way out. Only main() turns an Error into text and an exit code.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace moesim {

// Each kind has a stable process exit code (docs/json.md).
enum class ErrorKind {
  kInternal = 1,        // I/O failure or our own fault
  kUsage = 2,           // the command line is wrong
  kInvalidInput = 3,    // a file given by the user is wrong
  kNoFeasiblePlan = 4,  // the question has no answer
  kOutsideTolerance = 5,
  kNoDevice = 6,  // no accelerator that could be used, or no library for it
  kInterrupted = 130,
};

struct Error {
  ErrorKind kind = ErrorKind::kInternal;
  std::string what;   // one line, no trailing period
  std::string where;  // may be empty
  std::string hint;   // may be empty
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = tl::expected<void, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(ErrorKind kind, std::string what, std::string where = {},
                                                std::string hint = {}) {
  return tl::unexpected<Error>(Error{kind, std::move(what), std::move(where), std::move(hint)});
}
[[nodiscard]] inline tl::unexpected<Error> invalid_input(std::string what, std::string where = {},
                                                         std::string hint = {}) {
  return fail(ErrorKind::kInvalidInput, std::move(what), std::move(where), std::move(hint));
}
[[nodiscard]] inline tl::unexpected<Error> usage_error(std::string what, std::string hint = {}) {
  return fail(ErrorKind::kUsage, std::move(what), {}, std::move(hint));
}

// Stops the program with file, line and message; for conditions that only a bug of ours can break.
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace moesim

#define MOESIM_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::moesim::assertion_failed(#expression, __FILE__, __LINE__))

// Returns the error of `expression` (a Result or Status) from the enclosing function, or goes on.
#define MOESIM_TRY(expression)                                                  \
  if (auto moesim_status = (expression); !moesim_status.has_value())            \
    return ::tl::unexpected<::moesim::Error>(std::move(moesim_status).error()); \
  else                                                                          \
    static_cast<void>(0)

#define MOESIM_CONCAT_(a, b) a##b
#define MOESIM_CONCAT(a, b) MOESIM_CONCAT_(a, b)
// MOESIM_ASSIGN(auto x, f());  declares x with the value of f(), or returns f()'s error.
#define MOESIM_ASSIGN(declaration, expression) \
  MOESIM_ASSIGN_(MOESIM_CONCAT(moesim_result_, __LINE__), declaration, expression)
#define MOESIM_ASSIGN_(temporary, declaration, expression)                                            \
  auto temporary = (expression);                                                                      \
  if (!temporary.has_value()) return ::tl::unexpected<::moesim::Error>(std::move(temporary).error()); \
  declaration = std::move(*temporary)
