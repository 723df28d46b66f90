// Victory, the hand-over to the next seat, the last-player-standing tracker and the ranks (rules sections 3.8, 11,
// 12 and 16).
#pragma once

#include <array>

#include "state.h"

namespace rr {

/// Ends the turn of the seat to move: the game is over, or the next seat with rings begins its turn.
template <class B>
void end_turn(State<B>& state);

/// Rank of every seat of a finished game, 1 the best; equal seats share a rank and the next rank skips.
template <class B>
std::array<uint8_t, kMaxSeats> ranks(const State<B>& state);

std::string_view reason_name(Reason reason);
std::string_view detail_name(Detail detail);

}  // namespace rr
