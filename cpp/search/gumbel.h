// Gumbel AlphaZero (Danihelka et al., Policy improvement by planning with Gumbel, ICLR 2022) for 2 to 4 seats by max^n.
#pragma once

#include "tree.h"

namespace rr {

/// A round of leaves is one level of sequential halving: the moves that are still in the race, one visit for each.
template <class B>
class GumbelSearch final : public TreeSearch<B> {
 public:
  GumbelSearch(SearchShared& shared, const GumbelSettings& settings) : TreeSearch<B>(shared), settings_(settings) {}

  int choice() const override;
  /// The prior improved by the completed action values.
  void policy(float* out) const override;

 protected:
  using Node = typename TreeSearch<B>::Node;
  void open_root() override;
  void open_round() override;
  int select(Node& node) override;

 private:
  int fresh(int i) const { return this->visits(this->root(), i).count - carried_[static_cast<size_t>(i)]; }
  float scale() const;
  float score(int i, float scale) const;
  float mixed_value(const Node& node, float tried_prior, float tried_prior_q) const;

  GumbelSettings settings_;
  std::vector<float> noisy_;   ///< logit + noise of the candidates: the root's first edges, best first
  std::vector<int> carried_;   ///< visits that the candidates brought with them
  std::vector<int> schedule_;  ///< for each simulation, the visits that its move has had
  std::vector<int> order_;
};

/// For each simulation, how many visits the moves that compete for it have had: sequential halving from m moves.
void halving_schedule(int simulations, int considered, std::vector<int>& out);

}  // namespace rr
