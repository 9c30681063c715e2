// Reads a cluster file (docs/inputs-cluster.md) into a ClusterSpec.
#pragma once

#include "base/error.hpp"
#include "base/json_reader.hpp"
#include "models/cluster/cluster_spec.hpp"

namespace moesim {

// `nodes` > 0 replaces the file's own number of nodes; 0 keeps it, and a file without one is an error.
[[nodiscard]] Result<ClusterSpec> read_cluster(JsonReader root, std::int64_t nodes);

namespace detail {
[[nodiscard]] Result<DeviceSpec> read_device_or_name(JsonReader& reader, std::string_view key);
[[nodiscard]] Result<LinkRate> read_link_rate(JsonReader& reader);
[[nodiscard]] Result<NodeSpec> read_node(JsonReader reader, const Provenance& fallback);
[[nodiscard]] Result<ExplicitTopology> read_topology(JsonReader reader, const Provenance& fallback);
}  // namespace detail

}  // namespace moesim
