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

#define RR_INSTANTIATE(B, ...) template void random_game(State<B>&, Random&, Tally&);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
