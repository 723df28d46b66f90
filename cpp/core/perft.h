// Counts of the plies that can be played from a position: the same `generate` and `apply` as everything else.
#pragma once

#include <vector>

#include "apply.h"
#include "movegen.h"

namespace rr {

/// Number of sequences of `depth` playable moves. Games that end earlier count for nothing.
template <class B>
uint64_t perft(const State<B>& state, int depth) {
  if (depth == 0) return 1;
  std::vector<Move> moves;
  generate_playable(state, moves);
  if (depth == 1) return moves.size();
  uint64_t nodes = 0;
  for (const Move move : moves) {
    State<B> next = state;
    apply(next, move);
    nodes += perft(next, depth - 1);
  }
  return nodes;
}

}  // namespace rr
