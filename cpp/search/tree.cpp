#include "tree.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/apply.h"
#include "gumbel.h"
#include "puct.h"

namespace rr {
namespace {

constexpr int kFirstSorted = 2;  // edges that are put in order when a node is first left; then as many again each time

/// e to the power x <= 0, within 4e-6 of its size, never below 1e-20: without a branch or a call, so that loops over it are
/// vectors. Taylor's polynomial about the nearest half.
inline float exp_below(float x) {
  const float scaled = std::max(x, -46.0F) * 1.44269504F;
  const auto whole = static_cast<int32_t>(scaled - 0.5F);
  const float rest = (scaled - static_cast<float>(whole)) * 0.693147181F;
  float sum = 1.0F / 5040.0F;
  for (const float term : {1.0F / 720.0F, 1.0F / 120.0F, 1.0F / 24.0F, 1.0F / 6.0F, 0.5F, 1.0F, 1.0F})
    sum = sum * rest + term;
  return sum * std::bit_cast<float>((whole + 127) << 23);
}

/// Turns logits into probabilities.
template <class Edge>
void soften(Edge* edges, int size) {
  float most = -std::numeric_limits<float>::infinity(), sum = 0.0F;
  for (int i = 0; i < size; ++i) most = std::max(most, edges[i].prior);
  for (int i = 0; i < size; ++i) edges[i].prior = exp_below(edges[i].prior - most);
  for (int i = 0; i < size; ++i) sum += edges[i].prior;
  const float share = 1.0F / sum;
  for (int i = 0; i < size; ++i) edges[i].prior *= share;
}

}  // namespace

template <class B>
std::unique_ptr<TreeSearch<B>> TreeSearch<B>::make(const SearchSettings& settings, SearchShared& shared) {
  if (const auto* gumbel = std::get_if<GumbelSettings>(&settings))
    return std::make_unique<GumbelSearch<B>>(shared, *gumbel);
  return std::make_unique<PuctSearch<B>>(shared, std::get<PuctSettings>(settings));
}

template <class B>
void TreeSearch<B>::start(const State<B>& root, uint64_t seed, int simulations, bool noise, bool reuse) {
  seed_ = seed;
  noise_ = noise;
  counts_ = {};
  waiting_ = 0;
  handed_ = 0;
  round_.clear();
  opened_ = done_ = false;
  root_sum_ = {};
  if (!reuse || !take_over(root.key())) {
    nodes_.clear();
    states_.clear();
    edges_.clear();
    visits_.clear();
    const auto room = static_cast<size_t>(std::min(simulations, 4096)) + 1;
    nodes_.reserve(room);
    states_.reserve(room);
    states_.push_back(root);
    add_node(-1, -1);
    edges_.reserve(room * static_cast<size_t>(nodes_[0].size) / 2);
  }
  budget_ = nodes_[0].size > 1 ? simulations : 1;
  if (nodes_[0].size == 1) answer(nodes_[0], {}, [](int) { return 0.0F; });
  round_.push_back(0);
}

/// Makes the node of the last state, with its edges; plays the plies without a choice first, except at the root.
template <class B>
int TreeSearch<B>::add_node(int parent, int edge) {
  State<B>& s = states_.back();
  MoveList& legal = shared_->legal;
  int plies = parent < 0 ? 0 : nodes_[static_cast<size_t>(parent)].plies + 1;
  const auto first = static_cast<int32_t>(edges_.size());
  for (;;) {
    generate(s, legal);
    const size_t before = edges_.size();
    edges_.resize(before + static_cast<size_t>(legal.size));
    Edge* out = edges_.data() + before;
    bool costs = false;
    for (const Move m : legal) {
      costs |= m.costs_ring();
      *out++ = {m, 0.0F};
    }
    if (costs) {
      edges_.resize(before);
      extractions(s, shared_->cells);
      for (const Move m : legal) {
        if (!m.costs_ring())
          edges_.push_back({m, 0.0F});
        else
          for (const Cell c : shared_->cells) edges_.push_back({m.with_extraction(c), 0.0F});
      }
    }
    if (parent < 0 || static_cast<int32_t>(edges_.size()) != first + 1) break;
    apply(s, edges_.back().move);
    edges_.pop_back();
    ++plies;
  }
  Node node{};
  node.parent = parent;
  node.edge = edge;
  node.first = first;
  node.size = static_cast<int32_t>(edges_.size()) - first;
  node.plies = plies;
  node.to_move = s.to_move;
  node.terminal = node.answered = s.over();
  node.key = s.key();
  if (s.over()) node.value[s.winner] = 1.0F;
  nodes_.push_back(node);
  return static_cast<int>(nodes_.size()) - 1;
}

template <class B>
int TreeSearch<B>::next_leaf() {
  while (!done_) {
    while (handed_ < round_.size()) {
      const int leaf = round_[handed_++];
      Node& node = nodes_[static_cast<size_t>(leaf)];
      if (!node.answered) look_up(node);
      if (node.answered) continue;
      ++waiting_;
      return leaf;
    }
    if (waiting_ > 0) return -1;
    close_round();
    done_ = counts_.simulations >= budget_;
    if (!done_) open_round();
  }
  return -1;
}

/// Answers from the cache, where it can.
template <class B>
void TreeSearch<B>::look_up(Node& node) {
  const auto* found = shared_->cache.find(node.key);
  if (found == nullptr || found->size != node.size) return;
  const EvaluationCache& cache = shared_->cache;
  answer(node, found->value, [&](int i) { return cache.logit(*found, i); });
  ++counts_.cached;
}

template <class B>
void TreeSearch<B>::feed(int leaf, const float* logits, const float* value_rotated) {
  const Node& node = nodes_[static_cast<size_t>(leaf)];
  const int seats = states_[0].seats();
  SeatValues value{};
  for (int k = 0; k < seats; ++k) value[static_cast<size_t>((node.to_move + k) % seats)] = value_rotated[k];
  const Edge* edges = edges_.data() + node.first;
  feed_edges(leaf, value, [&](int i) {
    const Address a = policy_address<B>(edges[i].move, node.to_move, seats);
    return logits[a.move] + (a.extraction < 0 ? 0.0F : logits[a.extraction]);
  });
}

template <class B>
void TreeSearch<B>::close_round() {
  if (!opened_)
    begin_root();
  else
    for (const int node : round_) back_up(node);
  round_.clear();
  handed_ = 0;
}

template <class B>
void TreeSearch<B>::stop() {
  if (done_) return;
  if (!opened_) {
    if (!nodes_[0].answered) answer(nodes_[0], {}, [](int) { return 0.0F; });
    begin_root();
  } else {
    for (const int node : round_) {
      if (nodes_[static_cast<size_t>(node)].answered)
        back_up(node);
      else
        undo(node), --counts_.simulations;
    }
  }
  round_.clear();
  handed_ = 0;
  waiting_ = 0;
  done_ = true;
}

/// The root has its evaluation: priors, a place for the visits of every move, the order of trial.
template <class B>
void TreeSearch<B>::begin_root() {
  opened_ = true;
  Node& node = nodes_[0];
  if (node.sorted > 0)
    for (int i = 0; i < node.size; ++i) {
      float& prior = edges_[static_cast<size_t>(node.first + i)].prior;
      prior = std::log(prior);
    }
  restore_list_order();
  soften(edges_.data() + node.first, node.size);
  node.sorted = node.size;
  place_.resize(static_cast<size_t>(node.size));
  std::iota(place_.begin(), place_.end(), 0);
  open_root();
}

/// Edges in the order of the playable list, each with a place for its visits.
template <class B>
void TreeSearch<B>::restore_list_order() {
  Node& node = nodes_[0];
  const auto size = static_cast<size_t>(node.size), first = static_cast<size_t>(node.first);
  root_list_.resize(size);
  if (node.sorted == 0) {
    for (size_t i = 0; i < size; ++i) root_list_[i] = edges_[first + i].move;
  } else {
    generate_playable(states_[0], root_list_);
    std::vector<std::pair<uint32_t, int>> now(size);
    for (size_t i = 0; i < size; ++i) now[i] = {edges_[first + i].move.bits, static_cast<int>(i)};
    std::sort(now.begin(), now.end());
    std::vector<int> order(size);
    for (size_t i = 0; i < size; ++i)
      order[i] = std::lower_bound(now.begin(), now.end(), std::pair{root_list_[i].bits, 0})->second;
    order_root(order);
  }
  if (node.room < node.size) order_root({});
}

/// With an empty order, only makes room for the visits of every edge.
template <class B>
void TreeSearch<B>::order_root(const std::vector<int>& order) {
  Node& node = nodes_[0];
  const auto size = static_cast<size_t>(node.size), first = static_cast<size_t>(node.first);
  const std::vector<Edge> edges(edges_.begin() + node.first, edges_.begin() + node.first + node.size);
  std::vector<Visits> visits(size);
  std::copy_n(visits_.begin() + node.first_visits, std::min(node.room, node.size), visits.begin());
  const std::vector<int> place = place_;
  if (node.room < node.size) {
    node.first_visits = static_cast<int32_t>(visits_.size());
    node.room = node.size;
    visits_.resize(visits_.size() + size);
  }
  for (size_t i = 0; i < size; ++i) {
    const auto from = order.empty() ? i : static_cast<size_t>(order[i]);
    edges_[first + i] = edges[from];
    Visits& v = visits_[static_cast<size_t>(node.first_visits) + i];
    v = visits[from];
    if (v.child >= 0) nodes_[static_cast<size_t>(v.child)].edge = static_cast<int32_t>(i);
    if (place.size() == size) place_[i] = place[from];
  }
}

/// The place for the visits of an edge, which from now on counts as tried.
template <class B>
typename TreeSearch<B>::Visits& TreeSearch<B>::visit(Node& node, int edge) {
  if (edge >= node.room) {
    const auto from = static_cast<size_t>(node.first_visits);
    node.first_visits = static_cast<int32_t>(visits_.size());
    visits_.resize(visits_.size() + static_cast<size_t>(std::max(4, 2 * node.room)));
    std::copy_n(visits_.begin() + static_cast<std::ptrdiff_t>(from), node.room, visits_.begin() + node.first_visits);
    node.room = std::max(4, 2 * node.room);
  }
  node.tried = std::max(node.tried, edge + 1);
  return visits_[static_cast<size_t>(node.first_visits + edge)];
}

template <class B>
bool TreeSearch<B>::descend(int edge) {
  int at = 0;
  for (;;) {
    Node& node = nodes_[static_cast<size_t>(at)];
    Visits& v = visit(node, edge);
    ++v.count;
    ++node.visits;
    if (v.child < 0) {
      states_.push_back(states_[static_cast<size_t>(at)]);
      apply(states_.back(), edges_[static_cast<size_t>(node.first + edge)].move);
      const int child = v.child = static_cast<int>(nodes_.size());
      add_node(at, edge);
      at = child;
      break;
    }
    at = v.child;
    Node& child = nodes_[static_cast<size_t>(at)];
    if (child.terminal) break;
    if (!child.answered) {
      undo(at);
      return false;
    }
    edge = select(child);
  }
  round_.push_back(at);
  ++counts_.simulations;
  counts_.ends += nodes_[static_cast<size_t>(at)].terminal;
  return true;
}

/// Takes back the visits that led to a node.
template <class B>
void TreeSearch<B>::undo(int at) {
  for (int parent = nodes_[static_cast<size_t>(at)].parent; parent >= 0;
       at = parent, parent = nodes_[static_cast<size_t>(at)].parent) {
    Node& node = nodes_[static_cast<size_t>(parent)];
    --visits_[static_cast<size_t>(node.first_visits + nodes_[static_cast<size_t>(at)].edge)].count;
    --node.visits;
  }
}

/// The visits were counted on the way down.
template <class B>
void TreeSearch<B>::back_up(int at) {
  const SeatValues value = nodes_[static_cast<size_t>(at)].value;
  for (size_t s = 0; s < kMaxSeats; ++s) root_sum_[s] += value[s];
  for (int parent = nodes_[static_cast<size_t>(at)].parent; parent >= 0;
       at = parent, parent = nodes_[static_cast<size_t>(at)].parent) {
    const Node& node = nodes_[static_cast<size_t>(parent)];
    visits_[static_cast<size_t>(node.first_visits + nodes_[static_cast<size_t>(at)].edge)].value += value[node.to_move];
  }
}

template <class B>
void TreeSearch<B>::settle(Node& node) {
  Edge* edges = edges_.data() + node.first;
  if (node.sorted == 0) soften(edges, node.size);
  const int end = std::min(node.size, std::max(kFirstSorted, 2 * node.sorted));
  std::partial_sort(edges + node.sorted, edges + end, edges + node.size, [](const Edge& a, const Edge& b) {
    return a.prior != b.prior ? a.prior > b.prior : a.move.bits < b.move.bits;
  });
  node.sorted = end;
}

/// Makes the subtree of the position with this key the whole tree; false where the last search did not evaluate it.
template <class B>
bool TreeSearch<B>::take_over(uint64_t key) {
  int top = -1;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& n = nodes_[i];
    if (n.key == key && n.answered && !n.terminal && n.size > 1 &&
        (top < 0 || n.visits > nodes_[static_cast<size_t>(top)].visits))
      top = static_cast<int>(i);
  }
  if (top < 0) return false;
  Arena& to = spare_;
  to.clear();
  std::vector<int> from(1, top);
  const int plies = nodes_[static_cast<size_t>(top)].plies;
  for (size_t i = 0; i < from.size(); ++i) {
    const auto old = static_cast<size_t>(from[i]);
    Node node = nodes_[old];
    const auto first = to.edges.size(), first_visits = to.visits.size();
    to.edges.insert(to.edges.end(), edges_.begin() + node.first, edges_.begin() + node.first + node.size);
    node.tried = 0;
    for (int e = 0; e < node.room; ++e) {
      Visits v = visits(node, e);
      if (v.count == 0) {
        to.visits.emplace_back();
        continue;
      }
      const Node& child = nodes_[static_cast<size_t>(v.child)];
      const auto times = static_cast<float>(child.terminal ? v.count : 1);
      for (size_t s = 0; s < kMaxSeats; ++s) root_sum_[s] += times * child.value[s];
      nodes_[static_cast<size_t>(v.child)].parent = static_cast<int32_t>(i);
      nodes_[static_cast<size_t>(v.child)].edge = node.tried;
      from.push_back(v.child);
      v.child = static_cast<int32_t>(from.size()) - 1;
      // Edges that a stopped search left without a visit make way for those that have some.
      to.visits.push_back(v);
      std::swap(to.visits[first_visits + static_cast<size_t>(node.tried)], to.visits.back());
      std::swap(to.edges[first + static_cast<size_t>(node.tried++)], to.edges[first + static_cast<size_t>(e)]);
    }
    node.first = static_cast<int32_t>(first);
    node.first_visits = static_cast<int32_t>(first_visits);
    node.plies -= plies;
    to.nodes.push_back(node);
    to.states.push_back(states_[old]);
  }
  to.nodes[0].parent = to.nodes[0].edge = -1;
  nodes_.swap(to.nodes);
  states_.swap(to.states);
  edges_.swap(to.edges);
  visits_.swap(to.visits);
  return true;
}

template <class B>
float TreeSearch<B>::surprise(const float* policy) const {
  const Node& node = nodes_[0];
  double sum = 0.0;
  for (int i = 0; i < node.size; ++i) {
    const auto p = static_cast<double>(policy[place_[static_cast<size_t>(i)]]);
    const auto prior = static_cast<double>(edge(node, i).prior);
    if (p > 0.0) sum += p * std::log(p / std::max(prior, 1e-30));
  }
  return static_cast<float>(std::max(0.0, sum));
}

template <class B>
void TreeSearch<B>::root_moves(Move* moves, int32_t* counts) const {
  const Node& node = nodes_[0];
  for (int i = 0; i < node.size; ++i) {
    const auto place = static_cast<size_t>(place_[static_cast<size_t>(i)]);
    moves[place] = edge(node, i).move;
    counts[place] = visits(node, i).count;
  }
}

template <class B>
SeatValues TreeSearch<B>::root_value() const {
  const Node& node = nodes_[0];
  SeatValues out = root_sum_;
  if (node.size == 1 && node.visits > 0) return out;  // one visit, and no evaluation of the root itself
  for (size_t s = 0; s < kMaxSeats; ++s) out[s] = (out[s] + node.value[s]) / static_cast<float>(1 + node.visits);
  return out;
}

#define RR_INSTANTIATE(B, ...) template class TreeSearch<B>;
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
