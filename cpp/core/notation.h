// Texts: moves and canonical states as FORMAT writes them, and the position text, which also holds the options and
// what the canonical state leaves out (docs/formats.md).
#pragma once

#include <stdexcept>
#include <string>

#include "state.h"

namespace rr {

/// A text that cannot be read. Python sees InvalidNotation.
struct NotationError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// A readable move that may not be played now. Python sees IllegalMove.
struct IllegalMoveError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

std::string_view phase_name(Phase phase);

template <class B>
std::string cell_text(Cell c);

/// The move as FORMAT writes it; a slide with an extraction cell x gets `@x,y`. The move must be playable (or
/// refused) in the state.
template <class B>
std::string move_text(const State<B>& state, Move move);

/// Reads a move of the legal list, or with `@x,y` of the playable list. Throws NotationError where the text is no
/// move at all, IllegalMoveError where it is not legal now or where a slide that costs a ring does not say from which
/// of several stacks.
template <class B>
Move parse_move(const State<B>& state, std::string_view text);

/// The canonical state string: ten fields joined with semicolons.
template <class B>
std::string canonical(const State<B>& state);

/// The tracker as the recorded games write it: round,first,exclusive,count,mask.
std::string lps_text(const LpsTracker& lps);

/// The fields of the turn in progress, `name=value` joined with spaces; "-" when all have their defaults.
template <class B>
std::string turn_text(const State<B>& state);

/// Sets up a position from its canonical string and, where `turn` is not null, its turn text; without it the
/// position has no history. Throws NotationError with what is wrong.
template <class B>
State<B> parse_state(const Rules& rules, std::string_view canonical, const std::string_view* turn);

}  // namespace rr
