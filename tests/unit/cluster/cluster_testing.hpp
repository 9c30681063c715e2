// Short ways to a ClusterSpec and a ClusterView from JSON text.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/json_reader.hpp"
#include "models/cluster/cluster_reader.hpp"
#include "models/cluster/cluster_source.hpp"

namespace moesim {

[[nodiscard]] inline Result<ClusterSpec> spec_from(std::string_view text, std::int64_t nodes = 0) {
  auto document = JsonDocument::parse_text(text, "test.json");
  if (!document) return tl::unexpected(document.error());
  return read_cluster(document->root(), nodes);
}

[[nodiscard]] inline Result<ClusterView> view_from(std::string_view text, std::int64_t nodes = 0) {
  MOESIM_ASSIGN(const ClusterSpec spec, spec_from(text, nodes));
  return compile(spec);
}

// What an error says, all parts in one line; "" for success.
[[nodiscard]] inline std::string complaint(std::string_view text, std::int64_t nodes = 0) {
  const auto view = view_from(text, nodes);
  return view ? std::string() : view.error().what + " | " + view.error().where + " | " + view.error().hint;
}

// `text` with the first `from` replaced; the test fails when there is none.
[[nodiscard]] inline std::string with(std::string text, std::string_view from, std::string_view to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << "no '" << from << "' in the text";
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

}  // namespace moesim
