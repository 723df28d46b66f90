// Legal moves. The legal list is exactly the list of FORMAT: slides that cost a ring stand in it once, without the
// stack they are paid from; `extractions` gives the choices, and the playable list has one entry for each.
#pragma once

#include <vector>

#include "state.h"

namespace rr {

/// Writes every legal move of the seat to move. A game that is over has none; any other position has at least one.
template <class B>
void generate(const State<B>& state, MoveList& out);

/// Recovery slides that the game's own engine lists and then refuses (rules section 8). They are not legal.
template <class B>
void generate_refused(const State<B>& state, MoveList& out);

/// Writes the cells from which a slide that costs a ring can be paid, lowest first.
template <class B>
void extractions(const State<B>& state, std::vector<Cell>& out);

/// The legal list with every slide that costs a ring expanded into one entry per extraction cell, in list order.
template <class B>
void generate_playable(const State<B>& state, std::vector<Move>& out);

/// True if the move, with its extraction cell where it needs one, may be played now.
template <class B>
bool is_playable(const State<B>& state, Move move);

}  // namespace rr
