// A linear evaluation of a position for every seat, without a network: features in shares, weights in a table.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "state.h"

namespace rr {

struct HeuristicRow {
  std::string_view name;
  std::string_view meaning;
  float weight[2][kMaxSeats - 1];  ///< on small and on large boards, for 2, 3 and 4 seats
};

enum class Feature : uint8_t {
  Eliminated,
  EliminatedSquared,
  Territory,
  TerritorySquared,
  Stacks,
  Caps,
  Heights,
  Hand,
  Captive,
  Markers,
  Pairs,
  Threes,
  Mobility,
  Blocked,
  Overtake,
  Vulnerable,
  Centre,
  NoStacks,
  SingleStack,
  Out,
  ClaimNow,
  ClaimWinsNow,
  ClaimLater,
  ClaimWinsLater,
  LineReady,
  LineGap,
  Beside,
  Frontier,
  Chains,
  OvertakeNow,
  Fragile,
  Tempo,
  Stuck,
  Recovery,
  Alone,
  Rounds,
  Road,
  Rival,
};
inline constexpr int kFeatures = static_cast<int>(Feature::Rival) + 1;

/// The rows in the order of Feature.
extern const std::array<HeuristicRow, kFeatures> kHeuristicTable;

/// One seat's features, each about 0 .. 1.
template <class B>
void heuristic_features(const State<B>& state, Seat seat, float* out);

/// Probability of winning by absolute seat: softmax of the linear scores; of a finished game, the result.
template <class B>
std::array<float, kMaxSeats> heuristic_values(const State<B>& state);

/// A good move of the seat to move: the one after which the mover's value is best, the rest of its turn being played
/// the same way where that costs little. Equal moves are drawn by `seed`. It swaps sides where no other move gives its
/// own side an even chance. `moves` must be the playable list.
template <class B>
int greedy_move(const State<B>& state, const std::vector<Move>& moves, uint64_t seed);

}  // namespace rr
