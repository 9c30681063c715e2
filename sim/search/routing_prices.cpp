#include "sim/search/routing_prices.hpp"

#include <utility>

#include "sim/engine/op_cost.hpp"

namespace moesim {

RoutingPrices::RoutingPrices(const Layout& layout, std::shared_ptr<const RoutedLoads> own,
                             std::shared_ptr<const RoutedLoads> loads)
    : own_(std::move(own)), loads_(std::move(loads)) {
  const LoadClass busiest = load_classes(layout, *loads_).front();
  for (const int position : busiest.members.front())
    ranks_.push_back(layout.stage_ranks(StageId(0))[static_cast<std::size_t>(position)]);
  if (loads_->moe_layers == 0) return;
  group_.emplace(*loads_, busiest.sources, layout.sizes().ep, layout.sizes().esp);
  pieces_.emplace(*group_);
}

std::vector<double>& RoutingPrices::seconds(const Op& op, const Chunk& chunk, int layers) {
  const auto shape = [&chunk](const OperandList& list) {
    if (list.size() == 0) return std::pair(std::int64_t{0}, DType::kFp32);
    const Tensor& tensor = chunk.tensors[list[0].index()];
    return std::pair(tensor.columns, tensor.type);
  };
  const auto [columns_in, type_in] = shape(op.inputs);
  const auto [columns_out, type_out] = shape(op.outputs);
  std::vector<double>& known =
      seconds_[{op.kind, op.group, op.name.data(), columns_in, type_in, columns_out, type_out, piece_of(op, chunk),
                op.inputs.size() * (OperandList::kMost + 1) + op.outputs.size(), op.fusion, op.columns.of}];
  if (known.empty()) known.assign(static_cast<std::size_t>(layers), -1);
  return known;
}

}  // namespace moesim
