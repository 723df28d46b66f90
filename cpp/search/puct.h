// PUCT (Rosin 2011; Silver et al., AlphaZero, Science 2018) for 2 to 4 seats by max^n.
#pragma once

#include "tree.h"

namespace rr {

/// A round hands out several leaves: a visit counts as lost until it is answered, so that the next one goes elsewhere.
template <class B>
class PuctSearch final : public TreeSearch<B> {
 public:
  PuctSearch(SearchShared& shared, const PuctSettings& settings) : TreeSearch<B>(shared), settings_(settings) {}

  /// The move with the most visits; of several, that with the best action value.
  int choice() const override;
  /// The shares of the visits.
  void policy(float* out) const override;

 protected:
  using Node = typename TreeSearch<B>::Node;
  void open_root() override;
  void open_round() override;
  int select(Node& node) override;

 private:
  PuctSettings settings_;
  std::vector<int> order_;
};

}  // namespace rr
