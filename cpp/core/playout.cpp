#include "playout.h"

#include <vector>

#include "apply.h"
#include "movegen.h"

namespace rr {

template <class B>
void random_game(State<B>& state, Random& random, Tally& tally) {
  MoveList legal;
  std::vector<Cell> cells;
  while (!state.over()) {
    generate(state, legal);
    const auto n = static_cast<uint32_t>(legal.size);
    Move move = legal[static_cast<int>(n == 1 ? 0 : random.below(n))];
    if (move.costs_ring()) {
      extractions(state, cells);
      move = move.with_extraction(cells[random.below(static_cast<uint32_t>(cells.size()))]);
    }
    apply(state, move);
    ++tally.plies;
    tally.decisions += n > 1;
    tally.legal += n;
    tally.keys ^= state.key();
  }
  ++tally.games;
  tally.winners += state.winner + 1u;
}

template <class B>
Tally random_games(const Rules& rules, uint64_t first_seed, uint64_t games) {
  Tally tally;
  const State<B> start(rules);
  for (uint64_t i = 0; i < games; ++i) {
    State<B> state = start;
    Random random{first_seed + i};
    random_game(state, random, tally);
  }
  return tally;
}

#define RR_INSTANTIATE(B)                                        \
  template void random_game(State<B>&, Random&, Tally&);         \
  template Tally random_games<B>(const Rules&, uint64_t, uint64_t);
RR_INSTANTIATE(Square8)
RR_INSTANTIATE(Square19)
RR_INSTANTIATE(Hex8)
RR_INSTANTIATE(Hexagonal)

}  // namespace rr
