// Gumbel AlphaZero search (Danihelka et al., Policy improvement by planning with Gumbel, ICLR 2022) over one game of 2 to
// 4 seats. Every node chooses for the seat that is to move there and looks at that seat's component of the values
// (max^n); nothing flips by depth. Plies without a choice belong to the edge before them.
#pragma once

#include <array>
#include <vector>

#include "core/actions.h"
#include "core/movegen.h"

namespace rr {

struct GumbelSettings {
  int simulations = 32;   ///< new leaves or visits of ends of the game, per decision
  int considered = 16;    ///< moves of the root that are tried at all
  float c_visit = 50.0F;  ///< sigma(q) = (c_visit + most visits of a move) * c_scale * q
  float c_scale = 1.0F;
  float gumbel_scale = 1.0F;  ///< 0: no noise
};

using SeatValues = std::array<float, kMaxSeats>;

/// What all searches of one pool share while they work.
struct SearchScratch {
  MoveList legal;
  std::vector<Cell> cells;
  std::vector<float> numbers;
};

/// The search of one position. Use: start(); while (run()) evaluate leaf() and feed(); then the results. Its arenas keep
/// their memory from one start() to the next.
template <class B>
class GumbelSearch {
 public:
  struct Edge {
    Move move;
    float prior;    ///< the logit until the node is left for the first time
    int32_t child;  ///< node, or -1
    int32_t visits;
    float value;  ///< sum of the mover's component over the visits
  };
  struct Node {
    int32_t parent;       ///< node, or -1
    int32_t parent_edge;  ///< edge that leads here
    int32_t first;        ///< first edge
    int32_t size;         ///< edges: one for each playable move
    int32_t sorted;       ///< edges whose order by prior is settled; 0 also says that priors are logits
    int32_t tried;        ///< visited edges: the first ones
    int32_t visits;       ///< visits of the edges
    int32_t plies;        ///< plies from the root
    Seat to_move;
    bool terminal;
    SeatValues value;  ///< the evaluator's, or the result
  };

  explicit GumbelSearch(SearchScratch& scratch) : scratch_(&scratch) {}

  /// Begins at a position that is not over. With one playable move there is no search: the position after it, and after
  /// all further plies without a choice, is evaluated alone.
  void start(const State<B>& root, const GumbelSettings& settings, uint64_t seed);

  /// Goes on until a position must be evaluated (true) or the budget is used up (false).
  bool run();
  /// The position to be evaluated.
  const State<B>& leaf() const { return states_[static_cast<size_t>(leaf_)]; }
  /// The evaluator's answer: policy logits [kPolicyLength<B>] and probabilities of winning, the seat to move first [P].
  void feed(const float* logits, const float* value_rotated);

  bool done() const { return leaf_ < 0 && simulations_ >= budget_; }
  int moves() const { return nodes_[0].size; }
  Move move(int i) const { return edges_[static_cast<size_t>(i)].move; }
  int visits(int i) const { return edges_[static_cast<size_t>(i)].visits; }
  /// Index of the move that the search chooses.
  int choice() const;
  /// Probability of each move after improvement by the completed action values [moves()].
  void improved_policy(float* out) const;
  /// Mean over the root's own evaluation and all visits, by absolute seat.
  SeatValues root_value() const;
  int simulations() const { return simulations_; }
  int evaluations() const { return evaluations_; }

  const std::vector<Node>& nodes() const { return nodes_; }
  const std::vector<Edge>& edges() const { return edges_; }

 private:
  int add_node(int parent, int edge);
  int select(Node& node);
  void settle(Node& node);
  int best_candidate(int visits) const;
  int select_root() const;
  void back_up(int node, const SeatValues& value);
  void open_root();
  float q(const Edge& e) const { return e.value / static_cast<float>(e.visits); }
  float mixed_value(const Node& node, float tried_prior, float tried_prior_q) const;
  float root_score(int i, float scale) const;
  float root_scale() const;

  SearchScratch* scratch_;
  GumbelSettings settings_;
  uint64_t seed_ = 0;
  int budget_ = 0;
  int simulations_ = 0;
  int evaluations_ = 0;
  int leaf_ = -1;
  SeatValues root_sum_{};
  std::vector<Node> nodes_;
  std::vector<State<B>> states_;  ///< of the nodes
  std::vector<Edge> edges_;
  std::vector<float> root_logits_;  ///< logit + gumbel of each root move in `noisy_`
  std::vector<float> noisy_;
  std::vector<int> candidates_;  ///< root moves that are tried, best noisy logit first
  std::vector<int> schedule_;    ///< visits that the move of each simulation has had
};

/// For each simulation, how many visits the moves that compete for it have had: sequential halving from m moves.
void halving_schedule(int simulations, int considered, std::vector<int>& out);

extern template class GumbelSearch<Square8>;
extern template class GumbelSearch<Square19>;
extern template class GumbelSearch<Hex8>;
extern template class GumbelSearch<Hexagonal>;

}  // namespace rr
