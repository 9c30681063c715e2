#include <gtest/gtest.h>

#include "models/cluster/cluster_source.hpp"

namespace moesim {
namespace {

TEST(Compile, EveryPresetCompiles) {
  for (const std::string& name : preset_names()) {
    const auto spec = load_cluster("preset:" + name, 0);
    ASSERT_TRUE(spec) << name << ": " << spec.error().what;
    const auto view = compile(*spec);
    ASSERT_TRUE(view) << name << ": " << view.error().what;
    EXPECT_EQ(view->ranks(), spec->ranks()) << name;
    EXPECT_EQ(view->nodes(), spec->nodes()) << name;
  }
}

}  // namespace
}  // namespace moesim
