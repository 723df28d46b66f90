// Many searches at once, so that one call of the network serves them all. A pool hands out a batch of encoded leaves, one
// for each game at most, and takes the evaluator's answer; it never calls Python.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "core/game.h"
#include "gumbel.h"

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
  SeatValues value;  ///< the evaluator's or the result, by absolute seat
};

struct SearchOutcome {
  int choice = 0;  ///< index into moves
  std::vector<uint32_t> moves;
  std::vector<float> policy;
  std::vector<int32_t> visits;
  SeatValues root_value{};
  int simulations = 0;
  int evaluations = 0;
};

/// Sizes of what a pool exchanges with an evaluator, for one config.
struct BatchShape {
  int planes, globals, side, policy, seats;
};
BatchShape batch_shape(Config config);

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

/// Searches of given positions, each to the end of its budget.
class SearchPool : public LeafSource {
 public:
  static std::unique_ptr<SearchPool> make(Config config, const GumbelSettings& settings);
  /// Adds a position that is not over; returns its index.
  virtual int add(const Game& game, uint64_t seed) = 0;
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
  std::vector<float> policy;      ///< improved policies over the playable lists, one after the other
  std::vector<float> root_value;  ///< [D, P] by absolute seat
  int64_t simulations = 0;
  int64_t evaluations = 0;
};

struct SelfplayOptions {
  int slots = 32;             ///< games at a time
  int temperature_plies = 0;  ///< for so many searched plies, the move is drawn from the improved policy
  bool keep_search = true;    ///< whether FinishedGame has policies and values
};

/// Games that play themselves: each slot searches, moves, plays what has no choice, and takes the next game of the queue
/// when its own is over.
class SelfplayPool : public LeafSource {
 public:
  static std::unique_ptr<SelfplayPool> make(Config config, const GumbelSettings& settings,
                                            const SelfplayOptions& options);
  /// Puts a game in the queue; it goes on from where it stands. Returns its index.
  virtual int add(const Game& game, uint64_t seed) = 0;
  /// Games finished since the last call, in the order they ended.
  virtual std::vector<FinishedGame> finished() = 0;
  virtual int waiting() const = 0;  ///< games in the queue
  virtual int playing() const = 0;  ///< games in slots
};

}  // namespace rr
