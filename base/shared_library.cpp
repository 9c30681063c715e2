#include "base/shared_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace moesim {

Result<SharedLibrary> SharedLibrary::open(std::string_view library, std::span<const char* const> names) {
  for (const char* name : names)
    if (void* const handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return SharedLibrary(handle, name);
  return fail(ErrorKind::kNoDevice,
              fmt::format("{} is missing: the loader finds no {}", library, fmt::join(names, ", ")), {},
              "install it, or name its folder in LD_LIBRARY_PATH");
}

Result<void*> SharedLibrary::find(const char* symbol) const {
  void* const address = ::dlsym(handle_, symbol);
  if (address == nullptr)
    return fail(ErrorKind::kNoDevice, fmt::format("{} has no {}", name_, symbol), {},
                "install a newer version of the library");
  return address;
}

}  // namespace moesim
