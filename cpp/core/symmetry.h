// The symmetries of the boards: 8 of the square, 12 of the hexagon. Some quirks of the rules break some of them in
// some positions, which `symmetry_holds` finds out.
#pragma once

#include <vector>

#include "state.h"

namespace rr {

template <class B>
inline constexpr int kSymmetries = B::kHex ? 12 : 8;

/// Where cell c goes under symmetry g, 0 <= g < kSymmetries; g = 0 is the identity. Square: g % 4 quarter turns, after
/// a reflection of y when g >= 4. Hex: g % 6 turns by 60 degrees, after an exchange of x and y when g >= 6.
template <class B>
Cell map_cell(Cell c, int g);

/// Where a direction goes.
template <class B>
int map_direction(int dir, int g);

/// The symmetry that undoes g.
template <class B>
int inverse_symmetry(int g);

/// The position seen through symmetry g. Seats stay.
template <class B>
State<B> transform(const State<B>& state, int g);

/// A playable move of `state` as a move of transform(state, g).
template <class B>
Move transform_move(const State<B>& state, Move move, int g);

/// False for the moves whose effect looks the same from all sides. The rules decide by the order of the axes which lines
/// a recovery slide makes, and on hex8 the markers around a region by the neighbours of a square (rules sections 8, 9).
template <class B>
constexpr bool may_break_symmetry(Move m) {
  return m.type() == MoveType::SlideLine || m.type() == MoveType::SlideLineFree ||
         (B::kId == BoardId::Hex8 && m.type() == MoveType::Territory);
}

/// True if a playable move of the state leads to the image, under g, of what it leads to in image = transform(state, g).
template <class B>
bool successors_correspond(const State<B>& state, const State<B>& image, int g, Move move);

/// True if the playable lists of the state and its image correspond under g and so do the successors of `moves`
/// (playable moves of `state`).
template <class B>
bool symmetry_holds(const State<B>& state, int g, const std::vector<Move>& moves);

}  // namespace rr
