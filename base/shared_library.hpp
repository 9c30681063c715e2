// A library that is looked for when the program runs, so that one program starts on machines with and without it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace moesim {

// Stays loaded: neither CUDA's libraries nor GLib bear being unloaded.
class SharedLibrary {
 public:
  // The first of `names` that the system's loader finds; an error (ErrorKind::kNoDevice) that names `library` where it finds none.
  [[nodiscard]] static Result<SharedLibrary> open(std::string_view library, std::span<const char* const> names);

  // Sets `function` to what the library calls `symbol`.
  template <class Function>
  [[nodiscard]] Status bind(Function*& function, const char* symbol) const {
    MOESIM_ASSIGN(void* const address, find(symbol));
    function = reinterpret_cast<Function*>(address);
    return {};
  }
  // The same for what older versions do not have: nullptr.
  template <class Function>
  void bind_if_there(Function*& function, const char* symbol) const {
    const Result<void*> address = find(symbol);
    function = address ? reinterpret_cast<Function*>(*address) : nullptr;
  }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  SharedLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  [[nodiscard]] Result<void*> find(const char* symbol) const;

  void* handle_;
  std::string name_;
};

}  // namespace moesim
