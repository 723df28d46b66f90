#include "puct.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "random.h"

namespace rr {

/// Mixes noise into the priors; visited moves first, then by prior.
template <class B>
void PuctSearch<B>::open_root() {
  Node& root = this->root();
  const auto size = static_cast<size_t>(root.size);
  const auto prior = [&](size_t i) -> float& { return this->edges_[static_cast<size_t>(root.first) + i].prior; };
  if (this->noise_ && settings_.dirichlet_alpha > 0.0F && size > 1) {
    Draws random(this->seed_);
    std::vector<double> noise(size);
    double sum = 0.0;
    for (double& x : noise) sum += x = random.gamma(settings_.dirichlet_alpha / static_cast<double>(size));
    const float share = sum > 0.0 ? settings_.dirichlet_share : 0.0F;
    for (size_t i = 0; i < size; ++i)
      prior(i) = (1.0F - share) * prior(i) + share * static_cast<float>(noise[i] / (sum > 0.0 ? sum : 1.0));
  }
  order_.resize(size);
  std::iota(order_.begin(), order_.end(), 0);
  const auto visited = [&](int i) { return this->visits(root, i).count > 0; };
  std::sort(order_.begin(), order_.end(), [&](int a, int b) {
    if (visited(a) != visited(b)) return visited(a);
    const float x = prior(static_cast<size_t>(a)), y = prior(static_cast<size_t>(b));
    return x != y ? x > y : a < b;
  });
  const auto tried = std::count_if(order_.begin(), order_.end(), visited);
  this->order_root(order_);
  root.tried = static_cast<int32_t>(tried);
}

template <class B>
void PuctSearch<B>::open_round() {
  const int left = this->budget_ - this->counts_.simulations;
  for (int i = 0; i < std::min(settings_.leaves, left); ++i)
    if (!this->descend(select(this->root()))) return;
}

/// Unvisited edges differ in their priors alone, so only the visited ones and the next are looked at.
template <class B>
int PuctSearch<B>::select(Node& node) {
  if (node.tried == node.sorted && node.sorted < node.size) this->settle(node);
  const auto* edges = &this->edge(node, 0);
  const auto* visits = &this->visits(node, 0);
  const auto total = static_cast<float>(node.visits);
  const float weight =
      (settings_.c_puct + std::log((total + settings_.c_base + 1.0F) / settings_.c_base)) * std::sqrt(total + 1.0F);
  float prior = 0.0F, sum = node.value[node.to_move];
  int best = 0;
  float best_score = -std::numeric_limits<float>::infinity();
  const auto look = [&](int i, float q, int count) {
    const float score = q + weight * edges[i].prior / static_cast<float>(1 + count);
    if (score > best_score) {
      best_score = score;
      best = i;
    }
  };
  for (int i = 0; i < node.tried; ++i) {
    prior += edges[i].prior;
    sum += visits[i].value;
    look(i, visits[i].count > 0 ? this->q(visits[i]) : 0.0F, visits[i].count);
  }
  if (node.tried < node.size) {
    const float mean = sum / (1.0F + total);
    look(node.tried, mean - settings_.fpu_reduction * std::sqrt(prior), 0);
  }
  return best;
}

template <class B>
int PuctSearch<B>::choice() const {
  const Node& root = this->root();
  int best = 0;
  const auto key = [&](int i) {
    const auto& v = this->visits(root, i);
    return std::pair{v.count, v.count > 0 ? this->q(v) : 0.0F};
  };
  for (int i = 1; i < root.size; ++i)
    if (key(i) > key(best)) best = i;
  return this->place_[static_cast<size_t>(best)];
}

template <class B>
void PuctSearch<B>::policy(float* out) const {
  const Node& root = this->root();
  for (int i = 0; i < root.size; ++i) {
    const float p = root.visits > 0 ? static_cast<float>(this->visits(root, i).count) / static_cast<float>(root.visits)
                                    : this->edge(root, i).prior;
    out[this->place_[static_cast<size_t>(i)]] = p;
  }
}

#define RR_INSTANTIATE(B, ...) template class PuctSearch<B>;
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
