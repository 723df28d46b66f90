// The only code that changes a State by a move.
#pragma once

#include "state.h"

namespace rr {

/// Plays a playable move (see movegen.h): its effects, the transition of the phase, at the end of a turn victory,
/// the next seat and the last-player-standing tracker. The move must be playable; nothing is checked here.
template <class B>
void apply(State<B>& state, Move move);

/// The cells of a region move: the connected cells around its lowest cell inside its border.
template <class B>
typename B::Bits region_cells(const State<B>& state, Move move);

}  // namespace rr
