#include "gumbel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "random.h"

namespace rr {

void halving_schedule(int simulations, int considered, std::vector<int>& out) {
  out.clear();
  if (considered <= 1) {
    for (int i = 0; i < simulations; ++i) out.push_back(i);
    return;
  }
  const int rounds = std::bit_width(static_cast<unsigned>(considered - 1));
  int visits = 0;
  for (int left = considered; static_cast<int>(out.size()) < simulations; left = std::max(2, left / 2)) {
    const int each = std::max(1, simulations / (rounds * left));
    for (int k = 0; k < each; ++k, ++visits) out.insert(out.end(), static_cast<size_t>(left), visits);
  }
  out.resize(static_cast<size_t>(simulations));
}

/// Draws the candidates.
template <class B>
void GumbelSearch<B>::open_root() {
  const Node& root = this->root();
  const auto size = static_cast<size_t>(root.size);
  Draws random(this->seed_);
  const float scale = this->noise_ ? settings_.gumbel_scale : 0.0F;
  std::vector<float>& noisy = this->shared_->numbers;
  noisy.resize(size);
  for (size_t i = 0; i < size; ++i)
    noisy[i] = std::log(this->edge(root, static_cast<int>(i)).prior) + (scale > 0.0F ? scale * random.gumbel() : 0.0F);
  const int considered = std::max(1, std::min({settings_.considered, root.size, this->budget_}));
  order_.resize(size);
  std::iota(order_.begin(), order_.end(), 0);
  std::partial_sort(order_.begin(), order_.begin() + considered, order_.end(), [&](int a, int b) {
    const float x = noisy[static_cast<size_t>(a)], y = noisy[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  this->order_root(order_);
  noisy_.clear();
  carried_.clear();
  for (int i = 0; i < considered; ++i) {
    noisy_.push_back(noisy[static_cast<size_t>(order_[static_cast<size_t>(i)])]);
    carried_.push_back(this->visits(root, i).count);
  }
  halving_schedule(this->budget_, considered, schedule_);
}

/// The moves still in the race, the best first. Their scores are computed once: rounded in two ways by two inlined copies
/// of one expression, they would not order anything.
template <class B>
void GumbelSearch<B>::open_round() {
  const auto now = static_cast<size_t>(this->counts_.simulations);
  const int level = schedule_[now];
  const float by = scale();
  std::vector<float>& scores = this->shared_->numbers;
  scores.resize(noisy_.size());
  order_.clear();
  for (int i = 0; i < static_cast<int>(noisy_.size()); ++i) {
    if (fresh(i) != level) continue;
    order_.push_back(i);
    scores[static_cast<size_t>(i)] = score(i, by);
  }
  std::stable_sort(order_.begin(), order_.end(),
                   [&](int a, int b) { return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)]; });
  for (size_t i = 0; i < order_.size() && now + i < schedule_.size() && schedule_[now + i] == level; ++i)
    this->descend(order_[i]);
}

/// The value that unvisited moves are given (equation 33 of the paper).
template <class B>
float GumbelSearch<B>::mixed_value(const Node& node, float tried_prior, float tried_prior_q) const {
  const float own = node.value[node.to_move];
  if (node.visits == 0) return own;
  const auto n = static_cast<float>(node.visits);
  return (own + n * tried_prior_q / tried_prior) / (1.0F + n);
}

/// The edge where the visits lag most behind the improved policy (equation 14 of the paper). Among unvisited edges that
/// is the one with the highest prior, so only the visited ones and the next are looked at.
template <class B>
int GumbelSearch<B>::select(Node& node) {
  if (node.tried == node.sorted && node.sorted < node.size) this->settle(node);
  if (node.visits == 0) return 0;
  const auto* edges = &this->edge(node, 0);
  const auto* visits = &this->visits(node, 0);
  const int tried = node.tried;
  std::vector<float>& weight = this->shared_->numbers;
  weight.resize(static_cast<size_t>(tried) + 1);
  float prior = 0.0F, prior_q = 0.0F, best_q = 0.0F;
  int most = 0;
  for (int i = 0; i < tried; ++i) {
    const float value = this->q(visits[i]);
    weight[static_cast<size_t>(i)] = value;
    prior += edges[i].prior;
    prior_q += edges[i].prior * value;
    best_q = std::max(best_q, value);
    most = std::max(most, visits[i].count);
  }
  const float mixed = mixed_value(node, prior, prior_q);
  best_q = std::max(best_q, mixed);
  const float scale = (settings_.c_visit + static_cast<float>(most)) * settings_.c_scale;
  float sum = 0.0F;
  for (int i = 0; i < tried; ++i) {
    float& w = weight[static_cast<size_t>(i)];
    w = edges[i].prior * std::exp(scale * (w - best_q));
    sum += w;
  }
  const float rest = std::exp(scale * (mixed - best_q));
  sum += std::max(0.0F, 1.0F - prior) * rest;
  if (tried < node.size) weight[static_cast<size_t>(tried)] = edges[tried].prior * rest;
  const auto n = static_cast<float>(1 + node.visits);
  int best = 0;
  float best_score = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < std::min(tried + 1, node.size); ++i) {
    const auto count = static_cast<float>(i < tried ? visits[i].count : 0);
    const float score = weight[static_cast<size_t>(i)] / sum - count / n;
    if (score > best_score) {
      best_score = score;
      best = i;
    }
  }
  return best;
}

/// sigma of the paper at the root, as the factor of an action value.
template <class B>
float GumbelSearch<B>::scale() const {
  int most = 0;
  for (int i = 0; i < static_cast<int>(noisy_.size()); ++i) most = std::max(most, this->visits(this->root(), i).count);
  return (settings_.c_visit + static_cast<float>(most)) * settings_.c_scale;
}

/// Noisy logit and action value of a candidate; unvisited candidates only compete among themselves.
template <class B>
float GumbelSearch<B>::score(int i, float scale) const {
  const auto& v = this->visits(this->root(), i);
  return noisy_[static_cast<size_t>(i)] + (v.count > 0 ? scale * this->q(v) : 0.0F);
}

/// The best score among the candidates with the most visits of this search.
template <class B>
int GumbelSearch<B>::choice() const {
  int most = 0;
  for (int i = 0; i < static_cast<int>(noisy_.size()); ++i) most = std::max(most, fresh(i));
  const float by = scale();
  int best = -1;
  float best_score = 0.0F;
  for (int i = 0; i < static_cast<int>(noisy_.size()); ++i) {
    if (fresh(i) != most) continue;
    const float its = score(i, by);
    if (best >= 0 && its <= best_score) continue;
    best = i;
    best_score = its;
  }
  return this->place_[static_cast<size_t>(best)];
}

template <class B>
void GumbelSearch<B>::policy(float* out) const {
  const Node& root = this->root();
  const auto* edges = &this->edge(root, 0);
  const auto* visits = &this->visits(root, 0);
  float prior = 0.0F, prior_q = 0.0F;
  for (int i = 0; i < root.size; ++i) {
    if (visits[i].count == 0) continue;
    prior += edges[i].prior;
    prior_q += edges[i].prior * this->q(visits[i]);
  }
  const float mixed = mixed_value(root, prior, prior_q);
  const float by = scale();
  float most = -std::numeric_limits<float>::infinity(), sum = 0.0F;
  for (int i = 0; i < root.size; ++i) {
    float& p = out[this->place_[static_cast<size_t>(i)]];
    p = std::log(edges[i].prior) + by * (visits[i].count > 0 ? this->q(visits[i]) : mixed);
    most = std::max(most, p);
  }
  for (int i = 0; i < root.size; ++i) {
    out[i] = std::exp(out[i] - most);
    sum += out[i];
  }
  for (int i = 0; i < root.size; ++i) out[i] /= sum;
}

#define RR_INSTANTIATE(B, ...) template class GumbelSearch<B>;
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
