// Uniformly random play to the end, with the same generate and apply as everything else. The benchmark, perft-like
// checksums and random players stand on it.
#pragma once

#include "state.h"

namespace rr {

/// The generator of random play: SplitMix64, so that any language can reproduce a checksum.
struct Random {
  uint64_t state;
  uint64_t next() {
    state += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
    return z ^ z >> 31;
  }
  /// A number in 0 .. n-1 (n < 2^32): the high half of the next word, scaled.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
};

/// What was counted over some games; sums, so tallies of parts add up to the tally of the whole.
struct Tally {
  uint64_t games = 0;
  uint64_t plies = 0;
  uint64_t decisions = 0;  ///< plies with two legal moves or more
  uint64_t legal = 0;      ///< legal moves over all plies
  uint64_t winners = 0;    ///< winning seats (1 ..) over all games
  uint64_t keys = 0;       ///< xor of the keys after every ply
};

/// Plays a game to its end: at every ply the whole legal list is made and one move drawn from it uniformly, then,
/// where it costs a ring, one of its extraction cells.
template <class B>
void random_game(State<B>& state, Random& random, Tally& tally);

/// Plays games first_seed, first_seed + 1, .. from the initial position; game i draws from Random{seed i}.
template <class B>
Tally random_games(const Rules& rules, uint64_t first_seed, uint64_t games);

}  // namespace rr
