// Many searches at once, so that one call of the network serves them all. A pool hands out a batch of encoded leaves and
// takes the evaluator's answer; it never calls Python.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/game.h"
#include "tree.h"
#include "until.h"

namespace rr {

/// One node of a finished tree, for tests and analysis.
struct TreeNode {
  int parent;     ///< index of a node, or -1
  uint32_t move;  ///< the move from the parent that leads here; 0 at the root
  int plies;      ///< plies from the root, those without a choice included
  int to_move;    ///< seat from 0
  bool terminal;
  int visits;        ///< visits of that move
  float sum;         ///< sum over them of the component of the seat to move at the parent
  float prior;       ///< of that move
  SeatValues value;  ///< the evaluator's or the result, by absolute seat
};

struct SearchOutcome {
  int choice = 0;  ///< index into moves
  std::vector<uint32_t> moves;
  std::vector<float> policy;
  std::vector<int32_t> visits;
  SeatValues root_value{};
  SearchCounts counts;
};

/// Sizes of what a pool exchanges with an evaluator, for one config.
struct BatchShape {
  int planes, globals, side, policy, seats;
};
BatchShape batch_shape(Config config);

/// What all searches of a pool have in common.
struct PoolSettings {
  SearchSettings search;
  bool heuristic = false;  ///< leaves are judged by the hand-written evaluation: nothing is handed out
  bool reuse = false;      ///< a search begins with what the last one of its game found below the position
  size_t cache_bytes = 0;  ///< room for evaluations, shared by the pool's searches
};

/// A batch of leaves that waits for its answer. What follows collect() is one feed() with as many rows.
class LeafSource {
 public:
  virtual ~LeafSource() = default;
  /// Writes up to `capacity` leaves: planes [rows, C, H, W], globals [rows, G]. 0 rows: there is nothing left to do.
  virtual int collect(uint8_t* planes, float* globals, int capacity) = 0;
  /// Logits [rows, L] and values [rows, P] of the rows of the last collect().
  virtual void feed(const float* logits, const float* values) = 0;
  virtual int pending() const = 0;  ///< rows that wait for feed()
  virtual BatchShape shape() const = 0;
};

/// Searches of given positions, each to the end of its budget or of the time.
class SearchPool : public LeafSource {
 public:
  static std::unique_ptr<SearchPool> make(Config config, const PoolSettings& settings);
  /// Adds a position that is not over; returns its index. `simulations` 0: those of the settings.
  virtual int add(const Game& game, uint64_t seed, int simulations) = 0;
  /// Begins anew with index 0. The memory of the trees stays, the evaluations that the cache knows too, and, where the
  /// settings say so, each tree for the next position of the same index.
  virtual void clear() = 0;
  /// From here on collect() ends every search then. It matters to leaves that are judged here.
  virtual void set_until(const Until& until) = 0;
  /// Ends all searches with what they have; a batch without its answer is forgotten.
  virtual void stop() = 0;
  virtual SearchOutcome outcome(int index) const = 0;
  virtual std::vector<TreeNode> tree(int index) const = 0;
};

/// A game that self-play has brought to its end, with what was searched in it.
struct FinishedGame {
  int index = 0;                  ///< order of SelfplayPool::add
  int winner = 0;                 ///< seat from 0
  std::vector<uint32_t> moves;    ///< all plies after the position that was added
  std::vector<int32_t> ply;       ///< [D] plies, counted from that position, at which there was a search
  std::vector<int32_t> offsets;   ///< [D + 1] into policy
  std::vector<float> policy;      ///< the search's policies over the playable lists, one after the other
  std::vector<float> root_value;  ///< [D, P] by absolute seat
  std::vector<uint8_t> full;      ///< [D] 1 where the search had its full budget
  std::vector<float> surprise;    ///< [D] TreeSearch::surprise of the policy
  int64_t simulations = 0;
  int64_t evaluations = 0;
  int64_t cached = 0;
};

struct SelfplayOptions {
  int slots = 32;                   ///< games at a time
  std::vector<float> temperatures;  ///< of the games' decisions in order; 0, and after the last: the search's choice
  bool keep_search = true;          ///< whether FinishedGame has policies and values
  float full_share = 1.0F;          ///< of the decisions, drawn by lot, that have the full budget
  int cheap_simulations = 0;        ///< of the others, which are searched without noise
  float decided_value = 1.0F;       ///< a game is decided while one seat's root value has been above this ..
  int decided_after = 5;            ///< .. for so many decisions in a row ..
  int decided_simulations = 0;      ///< .. and is then searched with so many, without noise; 0: as before
};

/// Games that play themselves: each slot searches, moves, plays what has no choice, and takes the next game of the queue
/// when its own is over.
class SelfplayPool : public LeafSource {
 public:
  static std::unique_ptr<SelfplayPool> make(Config config, const PoolSettings& settings,
                                            const SelfplayOptions& options);
  /// Puts a game in the queue; it goes on from where it stands. Returns its index.
  virtual int add(const Game& game, uint64_t seed) = 0;
  /// Games finished since the last call, in the order they ended.
  virtual std::vector<FinishedGame> finished() = 0;
  virtual int waiting() const = 0;  ///< games in the queue
  virtual int playing() const = 0;  ///< games in slots
};

/// The seed of the search of decision `decision`, from 0, of a game of self-play.
uint64_t decision_seed(uint64_t game_seed, int decision);

}  // namespace rr
