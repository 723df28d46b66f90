// Uniformly random play with a small seeded generator: the same plies for the same seed on every machine.
#pragma once

#include "state.h"

namespace rr {

/// splitmix64: one addition and one mix a number.
struct Random {
  uint64_t state;

  uint64_t next() {
    uint64_t v = state += 0x9E3779B97F4A7C15ULL;
    v = (v ^ v >> 30) * 0xBF58476D1CE4E5B9ULL;
    v = (v ^ v >> 27) * 0x94D049BB133111EBULL;
    return v ^ v >> 31;
  }
  /// A number from 0 to n - 1; n is far below 2^32, so the bias cannot be seen.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
};

/// What random games came across, summed.
struct Tally {
  uint64_t games = 0;
  uint64_t plies = 0;
  uint64_t decisions = 0;  ///< plies with two legal moves or more
  uint64_t legal = 0;      ///< legal moves
  uint64_t winners = 0;    ///< winning seats, from 1
  uint64_t keys = 0;       ///< xor of the keys after every ply
};

/// Plays a game to its end: uniformly from the legal list, and uniformly from the stacks that can pay.
template <class B>
void random_game(State<B>& state, Random& random, Tally& tally);

}  // namespace rr
