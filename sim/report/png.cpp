#include "sim/report/png.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/shared_library.hpp"

namespace moesim {
namespace {

// What is called of librsvg 2.52, cairo and GLib, as their headers declare it.
struct RsvgHandle;
struct CairoSurface;
struct CairoContext;
struct RsvgRectangle {
  double x, y, width, height;
};
struct GlibError {
  std::uint32_t domain;
  int code;
  char* message;
};
constexpr int kArgb32 = 0;

struct PictureLibrary {
  RsvgHandle* (*read)(const unsigned char* data, std::size_t size, GlibError** error);
  int (*size_of)(RsvgHandle*, double* width, double* height);
  int (*render)(RsvgHandle*, CairoContext*, const RsvgRectangle* viewport, GlibError** error);
  CairoSurface* (*new_surface)(int format, int width, int height);
  CairoContext* (*new_context)(CairoSurface*);
  int (*surface_status)(CairoSurface*);
  int (*write_png)(CairoSurface*, int (*write)(void* to, const unsigned char* data, unsigned size), void* to);
  void (*free_surface)(CairoSurface*);
  void (*free_context)(CairoContext*);
  void (*unref)(void*);
  void (*free_error)(GlibError*);
};

Result<PictureLibrary> load_picture_library() {
  static constexpr const char* kNames[] = {"librsvg-2.so.2"};
  MOESIM_ASSIGN(const SharedLibrary library, SharedLibrary::open("librsvg", kNames));
  PictureLibrary functions{};
  MOESIM_TRY(library.bind(functions.read, "rsvg_handle_new_from_data"));
  MOESIM_TRY(library.bind(functions.size_of, "rsvg_handle_get_intrinsic_size_in_pixels"));
  MOESIM_TRY(library.bind(functions.render, "rsvg_handle_render_document"));
  // The loader finds what librsvg itself is linked with through it.
  MOESIM_TRY(library.bind(functions.new_surface, "cairo_image_surface_create"));
  MOESIM_TRY(library.bind(functions.new_context, "cairo_create"));
  MOESIM_TRY(library.bind(functions.surface_status, "cairo_surface_status"));
  MOESIM_TRY(library.bind(functions.write_png, "cairo_surface_write_to_png_stream"));
  MOESIM_TRY(library.bind(functions.free_surface, "cairo_surface_destroy"));
  MOESIM_TRY(library.bind(functions.free_context, "cairo_destroy"));
  MOESIM_TRY(library.bind(functions.unref, "g_object_unref"));
  MOESIM_TRY(library.bind(functions.free_error, "g_error_free"));
  return functions;
}

const Result<PictureLibrary>& picture_library() {
  static const Result<PictureLibrary> library = load_picture_library();
  return library;
}

int append(void* to, const unsigned char* data, unsigned size) {
  static_cast<std::string*>(to)->append(reinterpret_cast<const char*>(data), size);
  return 0;
}

}  // namespace

Status check_png() {
  if (picture_library()) return {};
  return usage_error(
      fmt::format("no PNG can be drawn here: {}", picture_library().error().what),
      "install librsvg2-2 and fonts-dejavu-core (scripts/setup does), or name a file that ends with .svg");
}

Result<std::string> png_of(std::string_view svg, double scale) {
  MOESIM_TRY(check_png());
  const PictureLibrary& draw = *picture_library();
  GlibError* error = nullptr;
  const auto failed = [&](std::string_view what) {
    std::string text = fmt::format("cannot draw the figure: {}", error != nullptr ? error->message : what);
    if (error != nullptr) draw.free_error(error);
    return fail(ErrorKind::kInternal, std::move(text));
  };
  const std::unique_ptr<RsvgHandle, void (*)(void*)> handle(
      draw.read(reinterpret_cast<const unsigned char*>(svg.data()), svg.size(), &error), draw.unref);
  if (handle == nullptr) return failed("it is no SVG");
  RsvgRectangle sheet{};
  if (draw.size_of(handle.get(), &sheet.width, &sheet.height) == 0) return failed("the SVG has no size");
  sheet.width = std::round(sheet.width * scale);
  sheet.height = std::round(sheet.height * scale);
  const std::unique_ptr<CairoSurface, void (*)(CairoSurface*)> surface(
      draw.new_surface(kArgb32, static_cast<int>(sheet.width), static_cast<int>(sheet.height)), draw.free_surface);
  if (draw.surface_status(surface.get()) != 0)
    return failed(fmt::format("{:.0f} x {:.0f} pixels are too many", sheet.width, sheet.height));
  const std::unique_ptr<CairoContext, void (*)(CairoContext*)> context(draw.new_context(surface.get()),
                                                                       draw.free_context);
  if (draw.render(handle.get(), context.get(), &sheet, &error) == 0) return failed("it cannot be rendered");
  std::string png;
  if (draw.write_png(surface.get(), append, &png) != 0) return failed("it cannot be compressed");
  return png;
}

}  // namespace moesim
