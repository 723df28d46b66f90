// What the tree searches have in common: a flat arena over one game of 2 to 4 seats, and the rounds in which leaves are
// handed out. Every node chooses for the seat that is to move there and looks at that seat's component of the values
// (max^n); nothing flips by depth. Plies without a choice belong to the edge before them.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "cache.h"
#include "core/actions.h"
#include "core/movegen.h"

namespace rr {

/// Gumbel AlphaZero (gumbel.h).
struct GumbelSettings {
  int simulations = 32;   ///< new leaves or visits of ends of the game, per decision
  int considered = 16;    ///< moves of the root that are tried at all
  float c_visit = 50.0F;  ///< sigma(q) = (c_visit + most visits of a move) * c_scale * q
  float c_scale = 1.0F;
  float gumbel_scale = 1.0F;  ///< 0: no noise
};

/// PUCT (puct.h).
struct PuctSettings {
  int simulations = 32;
  float c_puct = 1.5F;           ///< weight of prior and lack of visits against action values
  float c_base = 19652.0F;       ///< it grows by ln((visits + c_base + 1) / c_base)
  float fpu_reduction = 0.1F;    ///< a move without visits is worth the node's value less this times sqrt(tried prior)
  float dirichlet_alpha = 0.0F;  ///< concentration of the root's noise, over all moves; 0: no noise
  float dirichlet_share = 0.25F;
  int leaves = 1;  ///< leaves handed out at a time; a visit counts as lost until it is answered
};

using SearchSettings = std::variant<GumbelSettings, PuctSettings>;

/// What all searches of one pool share while they work.
struct SearchShared {
  explicit SearchShared(size_t cache_bytes = 0) : cache(cache_bytes) {}
  EvaluationCache cache;
  MoveList legal;
  std::vector<Cell> cells;
  std::vector<float> numbers;
};

/// What a search cost. Every simulation ends in an evaluation, in a position that the cache knew, or at an end.
struct SearchCounts {
  int simulations = 0;
  int evaluations = 0;  ///< the root's included
  int cached = 0;       ///< the root's included
  int ends = 0;         ///< visits of ends of the game
};

/// The search of one position. Use: start(); until done(), evaluate what next_leaf() gives and feed() it; then the
/// results. Its arenas keep their memory from one start() to the next.
///
/// The leaves of one round are chosen before any of them is answered and backed up in the order they were chosen, so the
/// tree depends neither on how a caller divides them into batches nor on what the cache knew.
template <class B>
class TreeSearch {
 public:
  struct Edge {
    Move move;
    float prior;  ///< the logit until the node is left for the first time
  };
  struct Visits {
    int32_t child = -1;  ///< node
    int32_t count = 0;
    float value = 0.0F;  ///< sum of the mover's component over the visits
  };
  struct Node {
    int32_t parent;        ///< node, or -1
    int32_t edge;          ///< place among the parent's edges
    int32_t first;         ///< first edge
    int32_t size;          ///< edges: one for each playable move
    int32_t sorted = 0;    ///< edges whose order by prior is settled; 0 also says that priors are logits
    int32_t first_visits;  ///< of the first edge
    int32_t room = 0;      ///< edges that have a place for visits: the first ones
    int32_t tried = 0;     ///< visited edges: the first ones; at the root they may lie anywhere
    int32_t visits = 0;    ///< sum over the edges
    int32_t plies;         ///< plies from the root
    Seat to_move;
    bool terminal;
    bool answered;  ///< has a value
    uint64_t key;
    SeatValues value{};  ///< the evaluator's, or the result
  };

  static std::unique_ptr<TreeSearch> make(const SearchSettings& settings, SearchShared& shared);
  explicit TreeSearch(SearchShared& shared) : shared_(&shared) {}
  virtual ~TreeSearch() = default;

  /// Begins at a position that is not over. With one playable move there is no search: the position after it, and after
  /// all further plies without a choice, is evaluated alone. `reuse`: where the last search came upon the position, what
  /// it found below stays, and the budget comes on top.
  void start(const State<B>& root, uint64_t seed, int simulations, bool noise, bool reuse);

  /// The next position that must be evaluated; -1: those handed out must be answered first, or the search is done.
  int next_leaf();
  const State<B>& state(int leaf) const { return states_[static_cast<size_t>(leaf)]; }
  /// The evaluator's answer: policy logits [kPolicyLength<B>] and probabilities of winning, the seat to move first [P].
  void feed(int leaf, const float* logits, const float* value_rotated);
  /// The same by absolute seat, with a function that gives the logit of the leaf's edge i.
  template <class F>
  void feed_edges(int leaf, const SeatValues& value, const F& logit_of);
  /// Ends the search before its budget; leaves without an answer never were.
  void stop();

  bool done() const { return done_; }
  int moves() const { return nodes_[0].size; }
  /// Index, in the playable list, of the move that the search chooses.
  virtual int choice() const = 0;
  /// What a network should learn: a probability for each move of the playable list [moves()].
  virtual void policy(float* out) const = 0;
  /// KL divergence in nats of a policy over the playable list [moves()] from the root's prior, the noise that PUCT mixes
  /// into it included.
  float surprise(const float* policy) const;
  /// The playable list, with the visits of each move [moves()].
  void root_moves(Move* moves, int32_t* visits) const;
  Move move(int i) const { return root_list_[static_cast<size_t>(i)]; }
  /// Mean over the root's own evaluation and all visits, by absolute seat.
  SeatValues root_value() const;
  const SearchCounts& counts() const { return counts_; }

  const std::vector<Node>& nodes() const { return nodes_; }
  const Edge& edge(const Node& node, int i) const { return edges_[static_cast<size_t>(node.first + i)]; }
  const Visits& visits(const Node& node, int i) const { return visits_[static_cast<size_t>(node.first_visits + i)]; }

 protected:
  /// Draws the root's noise and puts its edges in the order in which they are tried: `order_root`.
  virtual void open_root() = 0;
  /// Chooses the leaves of the next round: `descend`, at most budget_ - counts_.simulations times.
  virtual void open_round() = 0;
  /// The edge to follow from a node below the root: a visited one or the first unvisited.
  virtual int select(Node& node) = 0;

  /// Follows an edge of the root down to a leaf or an end and counts the visits; false, and nothing counted, where that
  /// leads to a leaf that waits for its answer.
  bool descend(int edge);
  /// Makes priors of a node's logits, and puts its next unvisited edges in order.
  void settle(Node& node);
  /// Puts the root's edges in a new order: edge i becomes what edge order[i] was.
  void order_root(const std::vector<int>& order);
  static float q(const Visits& v) { return v.value / static_cast<float>(v.count); }
  Node& root() { return nodes_[0]; }
  const Node& root() const { return nodes_[0]; }

  SearchShared* shared_;
  uint64_t seed_ = 0;
  int budget_ = 0;
  bool noise_ = true;
  SearchCounts counts_;
  std::vector<int> place_;  ///< in the playable list, of each of the root's edges
  std::vector<Edge> edges_;
  std::vector<Visits> visits_;

 private:
  template <class F>
  void answer(Node& node, const SeatValues& value, const F& logit_of);
  int add_node(int parent, int edge);
  void look_up(Node& node);
  Visits& visit(Node& node, int edge);
  void undo(int node);
  void back_up(int node);
  void close_round();
  void begin_root();
  bool take_over(uint64_t key);
  void restore_list_order();

  int waiting_ = 0;         ///< leaves handed out and not answered
  size_t handed_ = 0;       ///< of the round
  std::vector<int> round_;  ///< leaves and ends of the round; the root's own evaluation is a round
  bool opened_ = false;     ///< the root has been evaluated
  bool done_ = true;
  SeatValues root_sum_{};
  std::vector<Move> root_list_;  ///< the playable list
  std::vector<Node> nodes_;
  std::vector<State<B>> states_;  ///< of the nodes
  /// Where a tree that is taken over is put together.
  struct Arena {
    std::vector<Node> nodes;
    std::vector<State<B>> states;
    std::vector<Edge> edges;
    std::vector<Visits> visits;
    void clear() { nodes.clear(), states.clear(), edges.clear(), visits.clear(); }
  };
  Arena spare_;
};

template <class B>
template <class F>
void TreeSearch<B>::answer(Node& node, const SeatValues& value, const F& logit_of) {
  node.value = value;
  node.answered = true;
  Edge* edges = edges_.data() + node.first;
  for (int i = 0; i < node.size; ++i) edges[i].prior = logit_of(i);
}

template <class B>
template <class F>
void TreeSearch<B>::feed_edges(int leaf, const SeatValues& value, const F& logit_of) {
  Node& node = nodes_[static_cast<size_t>(leaf)];
  answer(node, value, logit_of);
  const Edge* edges = edges_.data() + node.first;
  shared_->cache.store(node.key, value, node.size, [&](int i) { return edges[i].prior; });
  ++counts_.evaluations;
  --waiting_;
}

#define RR_DECLARE(B, ...) extern template class TreeSearch<B>;
RR_BOARDS(RR_DECLARE)
#undef RR_DECLARE

}  // namespace rr
