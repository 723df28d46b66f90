// Leaves that are judged by the hand-written evaluation in the core, without a network.
#pragma once

#include "core/apply.h"
#include "core/heuristic.h"
#include "tree.h"

namespace rr {

/// How far apart the values of two moves must lie for one to be e times as likely: the prior's temperature.
inline constexpr float kHeuristicTemperature = 0.05F;

/// Answers a leaf: the evaluation's values, and as a move's logit the mover's value after it.
template <class B>
void answer_by_heuristic(TreeSearch<B>& search, int leaf) {
  const State<B>& state = search.state(leaf);
  const auto& node = search.nodes()[static_cast<size_t>(leaf)];
  State<B> next;
  search.feed_edges(leaf, heuristic_values(state), [&](int i) {
    next = state;
    apply(next, search.edge(node, i).move);
    return heuristic_values(next)[node.to_move] / kHeuristicTemperature;
  });
}

}  // namespace rr
