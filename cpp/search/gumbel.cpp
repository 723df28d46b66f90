#include "gumbel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/apply.h"
#include "random.h"

namespace rr {
namespace {

constexpr int kSortChunk = 8;          // unvisited edges that are put in order at a time
constexpr float kLeastPrior = 1e-20F;  // keeps products of priors above zero

}  // namespace

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

template <class B>
void GumbelSearch<B>::start(const State<B>& root, const GumbelSettings& settings, uint64_t seed) {
  settings_ = settings;
  seed_ = seed;
  simulations_ = evaluations_ = 0;
  leaf_ = -1;
  root_sum_ = {};
  nodes_.clear();
  states_.clear();
  edges_.clear();
  candidates_.clear();
  const auto room = static_cast<size_t>(settings.simulations) + 1;
  nodes_.reserve(room);
  states_.reserve(room);
  states_.push_back(root);
  add_node(-1, -1);
  edges_.reserve(room * static_cast<size_t>(nodes_[0].size) / 2);
  if (nodes_[0].size > 1) {
    budget_ = settings.simulations;
    leaf_ = 0;
  } else {
    budget_ = 1;
    root_logits_.assign(1, 0.0F);
    noisy_.assign(1, 0.0F);
    candidates_.assign(1, 0);
    schedule_.assign(1, 0);
    edges_[0].prior = 1.0F;
  }
}

/// Makes the node of the last state, with its edges; plays the plies without a choice first, except at the root.
template <class B>
int GumbelSearch<B>::add_node(int parent, int edge) {
  State<B>& s = states_.back();
  MoveList& legal = scratch_->legal;
  int plies = parent < 0 ? 0 : nodes_[static_cast<size_t>(parent)].plies + 1;
  const auto first = static_cast<int32_t>(edges_.size());
  for (;;) {
    generate(s, legal);
    scratch_->cells.clear();
    for (const Move m : legal) {
      if (!m.costs_ring()) {
        edges_.push_back({m, 0.0F, -1, 0, 0.0F});
        continue;
      }
      if (scratch_->cells.empty()) extractions(s, scratch_->cells);
      for (const Cell c : scratch_->cells) edges_.push_back({m.with_extraction(c), 0.0F, -1, 0, 0.0F});
    }
    if (parent < 0 || static_cast<int32_t>(edges_.size()) != first + 1) break;
    apply(s, edges_.back().move);
    edges_.pop_back();
    ++plies;
  }
  Node node{parent, edge, first, static_cast<int32_t>(edges_.size()) - first, 0, 0, 0, plies, s.to_move, s.over(), {}};
  if (s.over()) node.value[s.winner] = 1.0F;
  nodes_.push_back(node);
  return static_cast<int>(nodes_.size()) - 1;
}

template <class B>
bool GumbelSearch<B>::run() {
  if (leaf_ >= 0) return true;
  while (simulations_ < budget_) {
    int at = 0;
    int32_t edge = select_root();
    while (edges_[static_cast<size_t>(edge)].child >= 0) {
      at = edges_[static_cast<size_t>(edge)].child;
      Node& node = nodes_[static_cast<size_t>(at)];
      if (node.terminal) break;
      edge = select(node);
    }
    ++simulations_;
    if (edges_[static_cast<size_t>(edge)].child < 0) {
      states_.push_back(states_[static_cast<size_t>(at)]);
      apply(states_.back(), edges_[static_cast<size_t>(edge)].move);
      const int child = add_node(at, edge);
      edges_[static_cast<size_t>(edge)].child = child;
      at = child;
    }
    if (!nodes_[static_cast<size_t>(at)].terminal) {
      leaf_ = at;
      return true;
    }
    back_up(at, nodes_[static_cast<size_t>(at)].value);
  }
  return false;
}

template <class B>
void GumbelSearch<B>::feed(const float* logits, const float* value_rotated) {
  const int at = leaf_;
  Node& node = nodes_[static_cast<size_t>(at)];
  const int seats = states_[0].seats();
  for (int k = 0; k < seats; ++k) node.value[static_cast<size_t>((node.to_move + k) % seats)] = value_rotated[k];
  Edge* edges = edges_.data() + node.first;
  for (int i = 0; i < node.size; ++i) {
    const Address a = policy_address<B>(edges[i].move, node.to_move, seats);
    edges[i].prior = logits[a.move] + (a.extraction < 0 ? 0.0F : logits[a.extraction]);
  }
  ++evaluations_;
  leaf_ = -1;
  if (at == 0)
    open_root();
  else
    back_up(at, node.value);
}

/// Draws the candidates of the root.
template <class B>
void GumbelSearch<B>::open_root() {
  const Node& root = nodes_[0];
  const auto size = static_cast<size_t>(root.size);
  root_logits_.resize(size);
  noisy_.resize(size);
  Random random(seed_);
  const float scale = settings_.gumbel_scale;
  float most = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < size; ++i) {
    root_logits_[i] = edges_[i].prior;
    most = std::max(most, root_logits_[i]);
  }
  float sum = 0.0F;
  for (size_t i = 0; i < size; ++i) {
    root_logits_[i] -= most;
    noisy_[i] = root_logits_[i] + (scale > 0.0F ? scale * random.gumbel() : 0.0F);
    edges_[i].prior = std::max(std::exp(root_logits_[i]), kLeastPrior);
    sum += edges_[i].prior;
  }
  for (size_t i = 0; i < size; ++i) edges_[i].prior /= sum;
  const int considered = std::max(1, std::min({settings_.considered, root.size, budget_}));
  candidates_.resize(size);
  std::iota(candidates_.begin(), candidates_.end(), 0);
  std::partial_sort(candidates_.begin(), candidates_.begin() + considered, candidates_.end(), [&](int a, int b) {
    const float x = noisy_[static_cast<size_t>(a)], y = noisy_[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  candidates_.resize(static_cast<size_t>(considered));
  halving_schedule(budget_, considered, schedule_);
}

template <class B>
void GumbelSearch<B>::back_up(int at, const SeatValues& value) {
  for (size_t s = 0; s < kMaxSeats; ++s) root_sum_[s] += value[s];
  for (int32_t edge = nodes_[static_cast<size_t>(at)].parent_edge; edge >= 0;) {
    at = nodes_[static_cast<size_t>(at)].parent;
    Node& node = nodes_[static_cast<size_t>(at)];
    Edge& e = edges_[static_cast<size_t>(edge)];
    node.tried += e.visits == 0;
    ++node.visits;
    ++e.visits;
    e.value += value[node.to_move];
    edge = node.parent_edge;
  }
}

/// The value that unvisited moves are given (equation 33 of the paper).
template <class B>
float GumbelSearch<B>::mixed_value(const Node& node, float tried_prior, float tried_prior_q) const {
  const float own = node.value[node.to_move];
  if (node.visits == 0) return own;
  const auto n = static_cast<float>(node.visits);
  return (own + n * tried_prior_q / tried_prior) / (1.0F + n);
}

/// Makes priors of the logits and puts the next unvisited edges in order.
template <class B>
void GumbelSearch<B>::settle(Node& node) {
  Edge* edges = edges_.data() + node.first;
  if (node.sorted == 0) {
    float most = -std::numeric_limits<float>::infinity(), sum = 0.0F;
    for (int i = 0; i < node.size; ++i) most = std::max(most, edges[i].prior);
    for (int i = 0; i < node.size; ++i) {
      edges[i].prior = std::max(std::exp(edges[i].prior - most), kLeastPrior);
      sum += edges[i].prior;
    }
    for (int i = 0; i < node.size; ++i) edges[i].prior /= sum;
  }
  const int end = std::min(node.size, node.sorted + kSortChunk);
  std::partial_sort(edges + node.sorted, edges + end, edges + node.size, [](const Edge& a, const Edge& b) {
    return a.prior != b.prior ? a.prior > b.prior : a.move.bits < b.move.bits;
  });
  node.sorted = end;
}

/// The edge where the visits lag most behind the improved policy (equation 14 of the paper). Among unvisited edges that
/// is the one with the highest prior, so only the visited ones and the next are looked at.
template <class B>
int GumbelSearch<B>::select(Node& node) {
  if (node.tried == node.sorted && node.sorted < node.size) settle(node);
  const Edge* edges = edges_.data() + node.first;
  if (node.visits == 0) return node.first;
  const int tried = node.tried;
  std::vector<float>& weight = scratch_->numbers;
  weight.resize(static_cast<size_t>(tried) + 1);
  float prior = 0.0F, prior_q = 0.0F, best_q = 0.0F;
  int most = 0;
  for (int i = 0; i < tried; ++i) {
    const float value = q(edges[i]);
    weight[static_cast<size_t>(i)] = value;
    prior += edges[i].prior;
    prior_q += edges[i].prior * value;
    best_q = std::max(best_q, value);
    most = std::max(most, edges[i].visits);
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
    const float score = weight[static_cast<size_t>(i)] / sum - static_cast<float>(edges[i].visits) / n;
    if (score > best_score) {
      best_score = score;
      best = i;
    }
  }
  return node.first + best;
}

template <class B>
float GumbelSearch<B>::root_scale() const {
  int most = 0;
  for (const int i : candidates_) most = std::max(most, edges_[static_cast<size_t>(i)].visits);
  return (settings_.c_visit + static_cast<float>(most)) * settings_.c_scale;
}

/// Noisy logit and action value of a candidate; unvisited candidates only compete among themselves.
template <class B>
float GumbelSearch<B>::root_score(int i, float scale) const {
  const Edge& e = edges_[static_cast<size_t>(i)];
  return noisy_[static_cast<size_t>(i)] + (e.visits > 0 ? scale * q(e) : 0.0F);
}

/// The candidate of the best score among those with so many visits, the first of equals; -1 where there is none.
template <class B>
int GumbelSearch<B>::best_candidate(int visits) const {
  const float scale = root_scale();
  int best = -1;
  float best_score = 0.0F;
  for (const int i : candidates_) {
    if (edges_[static_cast<size_t>(i)].visits != visits) continue;
    const float score = root_score(i, scale);
    if (best < 0 || score > best_score) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

template <class B>
int GumbelSearch<B>::select_root() const {
  return best_candidate(schedule_[static_cast<size_t>(simulations_)]);
}

template <class B>
int GumbelSearch<B>::choice() const {
  int most = 0;
  for (const int i : candidates_) most = std::max(most, edges_[static_cast<size_t>(i)].visits);
  return best_candidate(most);
}

template <class B>
void GumbelSearch<B>::improved_policy(float* out) const {
  const Node& root = nodes_[0];
  float prior = 0.0F, prior_q = 0.0F;
  for (const int i : candidates_) {
    const Edge& e = edges_[static_cast<size_t>(i)];
    if (e.visits == 0) continue;
    prior += e.prior;
    prior_q += e.prior * q(e);
  }
  const float mixed = mixed_value(root, prior, prior_q);
  const float scale = root_scale();
  float most = -std::numeric_limits<float>::infinity(), sum = 0.0F;
  for (int i = 0; i < root.size; ++i) {
    const Edge& e = edges_[static_cast<size_t>(i)];
    out[i] = root_logits_[static_cast<size_t>(i)] + scale * (e.visits > 0 ? q(e) : mixed);
    most = std::max(most, out[i]);
  }
  for (int i = 0; i < root.size; ++i) {
    out[i] = std::exp(out[i] - most);
    sum += out[i];
  }
  for (int i = 0; i < root.size; ++i) out[i] /= sum;
}

template <class B>
SeatValues GumbelSearch<B>::root_value() const {
  const Node& root = nodes_[0];
  SeatValues out = root_sum_;
  if (root.size == 1) return out;  // one visit, and no evaluation of the root itself
  for (size_t s = 0; s < kMaxSeats; ++s) out[s] = (out[s] + root.value[s]) / static_cast<float>(1 + root.visits);
  return out;
}

template class GumbelSearch<Square8>;
template class GumbelSearch<Square19>;
template class GumbelSearch<Hex8>;
template class GumbelSearch<Hexagonal>;

}  // namespace rr
