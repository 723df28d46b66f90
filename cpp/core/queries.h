// Questions about a state that move generation, application and the outcome share. All are pure.
#pragma once

#include "state.h"

namespace rr {

/// True if a stack of this height and cap standing on c would have a capture (rules section 6). What stands on c
/// itself is not looked at.
template <class B>
inline bool has_capture(const State<B>& s, Cell c, int height, int cap) {
  bool found = false;
  unroll<B::kDirs>([&]<int D>() {
    if (found) return;
    const int before = s.template run<D>(c);
    const Cell target = B::go(c, D, before + 1);
    if (s.cap[target] > cap) return;
    const int behind = s.template run<D>(target);
    found = behind > 0 && before + 1 + behind >= height;
  });
  return found;
}

/// True if such a stack would have a plain move (rules section 5).
template <class B>
inline bool has_step(const State<B>& s, Cell c, int height) {
  bool found = false;
  unroll<B::kDirs>([&]<int D>() { found = found || s.template run<D>(c) >= height; });
  return found;
}

template <class B>
inline bool has_action(const State<B>& s, Cell c, int height, int cap) {
  return has_step(s, c, height) || has_capture(s, c, height, cap);
}

/// True if the seat controls a stack that has a plain move or a capture.
template <class B>
inline bool any_stack_action(const State<B>& s, Seat seat) {
  using Ops = typename State<B>::Ops;
  return s.control[seat].any_of([&](Cell c) { return has_action(s, c, Ops::height(s.stack_at(c)), s.cap[c]); });
}

/// Cells that neither a stack nor territory blocks.
template <class B>
inline typename B::Bits open_cells(const State<B>& s) {
  return kBoardBits<B>.andnot(s.stack_bits() | s.collapsed_bits());
}

/// Cells from which a stack of height 1 .. Heights, if it stood there, would have a plain move.
template <class B, int Heights>
inline std::array<typename B::Bits, Heights> step_masks(const typename B::Bits& open) {
  std::array<typename B::Bits, Heights> masks{};
  unroll<B::kDirs>([&]<int D>() {
    constexpr int dx = -B::step(D).dx, dy = -B::step(D).dy;
    const auto one = open.template shifted<dx, dy>();
    masks[0] |= one;
    if constexpr (Heights > 1) {
      const auto two = one & one.template shifted<dx, dy>();
      masks[1] |= two;
      masks[2] |= one & two.template shifted<dx, dy>();
    }
  });
  return masks;
}

/// True if one ring of the seat on the stack at c would leave a stack that can move (rules section 4).
template <class B>
inline bool may_place_on_stack(const State<B>& s, Cell c, Seat seat) {
  using Ops = typename State<B>::Ops;
  const auto stack = s.stack_at(c);
  const int cap = Ops::top(stack) == seat ? s.cap[c] + 1 : 1;
  return has_action(s, c, Ops::height(stack) + 1, cap);
}

/// True if the seat has a legal placement of one ring.
template <class B>
inline bool any_placement(const State<B>& s, Seat seat) {
  if (s.hand[seat] == 0) return false;
  const auto open = open_cells(s);
  const auto empty = open.andnot(s.marker_bits());
  const auto live = empty & step_masks<B, 1>(open)[0];
  if (live.any()) return true;
  if (empty.any_of([&](Cell c) { return has_capture(s, c, 1, 1); })) return true;
  return s.stack_bits().any_of([&](Cell c) { return may_place_on_stack(s, c, seat); });
}

/// A real action in the sense of the last-player-standing tracker (rules section 12).
template <class B>
inline bool has_real_action(const State<B>& s, Seat seat) {
  return any_stack_action(s, seat) || any_placement(s, seat);
}

/// Calls f(first cell, axis, length) for every line of the seat (rules section 7) until f returns true; tells
/// whether it did. The first cell is the end opposite to the axis direction.
template <class B, class F>
inline bool any_line(const State<B>& s, Seat seat, F&& f) {
  const int least = s.rules.line_notice;
  if (s.markers[seat] < least) return false;
  const auto& own = s.marker[seat];
  bool stopped = false;
  unroll<B::kAxes>([&]<int A>() {
    if (stopped) return;
    constexpr int dx = B::step(A).dx, dy = B::step(A).dy;
    // Bit c: own markers on c and the next least - 1 cells along the axis.
    const auto next = own.template shifted<-dx, -dy>();
    auto runs = own & next;
    runs &= runs.template shifted<-dx, -dy>();  // three in a row
    if (least == 4) runs &= runs.template shifted<-dx, -dy>();
    if (!runs.any()) return;
    const auto starts = runs.andnot(own.template shifted<dx, dy>());
    stopped = starts.any_of([&](Cell c) {
      int length = least;
      while (own.test_framed(B::go(c, A, length))) ++length;
      return f(c, A, length);
    });
  });
  return stopped;
}

template <class B>
inline bool any_line(const State<B>& s, Seat seat) {
  return any_line(s, seat, [](Cell, int, int) { return true; });
}

/// The part of mask that is connected to seed (territory connection); seed must lie in mask. Quick where that part
/// is small or most of it is in the seed.
template <class B>
inline typename B::Bits flood(typename B::Bits seed, const typename B::Bits& mask) {
  for (;;) {
    const auto next = B::grown(seed) & mask;
    if (next == seed) return seed;
    seed = B::grown(next) & mask;
  }
}

/// The same, quick where that part is large.
template <class B>
inline typename B::Bits flood_far(typename B::Bits seed, const typename B::Bits& mask) {
  for (;;) {
    seed = seed.runs_filled(mask).columns_filled(mask);
    const auto next = B::grown(seed) & mask;
    if (next == seed) return seed;
    seed = next;
  }
}

/// True if some stack outside `inside` has a ring of the seat below its top.
template <class B>
inline bool buried_outside(const State<B>& s, Seat seat, const typename B::Bits& inside) {
  using Ops = typename State<B>::Ops;
  return s.stack_bits().andnot(inside).any_of([&](Cell c) { return Ops::lowest_ring(s.stack_at(c), seat) > 0; });
}

/// Cells a region may consist of when seat `border` walls it (kNoSeat: nobody's markers wall it).
template <class B>
inline typename B::Bits region_mask(const State<B>& s, Seat border) {
  const auto land = kBoardBits<B>.andnot(s.collapsed_bits());
  return border == kNoSeat ? land : land.andnot(s.marker[border]);
}

/// Calls f(cells, border seat) for every region that the seat to move can process (rules section 9) until f returns
/// true; tells whether it did. Each set of cells comes once, with its lowest border seat.
template <class B, class F>
inline bool any_region(const State<B>& s, F&& f) {
  using Bits = typename B::Bits;
  const Seat me = s.to_move;
  if (!s.recovery_turn && s.stacks[me] == 0) return false;
  int active = 0;
  for (Seat c = 0; c < s.seats(); ++c) active += s.rings_on_board[c] > 0;
  const Bits markers = s.marker_bits();
  // The land around one stack of the mover. Most often it is all there is, and then there is no region: the mover
  // could not pay from outside.
  Bits home{};
  if (!s.recovery_turn) {
    home.set(s.control[me].lowest());
    home = flood_far<B>(home, kBoardBits<B>.andnot(s.collapsed_bits() | markers));
  }
  const bool any_collapsed = s.collapsed[0] + s.collapsed[1] + s.collapsed[2] + s.collapsed[3] > 0;
  for (int k = 0; k < s.seats() + any_collapsed; ++k) {
    const Seat border = k < s.seats() ? static_cast<Seat>(k) : kNoSeat;
    if (border != kNoSeat && s.markers[border] == 0) continue;
    const Bits mask = region_mask(s, border);
    Bits rest = mask;
    if (!s.recovery_turn) {
      Bits first = B::grown(home) & mask;
      if (first == mask) continue;
      first = flood<B>(first, mask);
      if (!s.control[me].andnot(first).any()) rest = mask.andnot(first);
    }
    while (rest.any()) {
      Bits seed{};
      seed.set(rest.lowest());
      const Bits cells = flood<B>(seed, mask);
      rest = rest.andnot(cells);
      int colours = 0;
      for (Seat c = 0; c < s.seats(); ++c) colours += (s.control[c] & cells).any();
      if (colours >= active) continue;
      if (border == kNoSeat && colours != 1) continue;
      // The same cells are a component for another seat too only where no marker walls them.
      bool seen = false;
      if (!(B::grown(cells) & markers).andnot(cells).any())
        for (Seat b = 0; b < (border == kNoSeat ? s.seats() : border); ++b)
          seen = seen || (s.markers[b] > 0 && !(s.marker[b] & cells).any());
      if (seen) continue;
      const bool payable = s.recovery_turn ? buried_outside(s, me, cells) : s.control[me].andnot(cells).any();
      if (payable && f(cells, border)) return true;
    }
  }
  return false;
}

template <class B>
inline bool any_region(const State<B>& s) {
  return any_region(s, [](const typename B::Bits&, Seat) { return true; });
}

/// The run of own markers through t along an axis, t itself counted as one and `gone` as none: its first cell (the
/// end opposite to the axis direction) and its length.
template <class B>
inline std::pair<Cell, int> run_through(const State<B>& s, Seat seat, Cell t, Cell gone, int axis) {
  const auto own = [&](Cell c) { return c != gone && s.marker[seat].test_framed(c); };
  int back = 0, ahead = 0;
  while (own(B::go(t, axis, -back - 1))) ++back;
  while (own(B::go(t, axis, ahead + 1))) ++ahead;
  return {B::go(t, axis, -back), back + ahead + 1};
}

/// What a line slide of a marker from `from` to its empty neighbour `to` makes (rules section 8).
struct SlideLines {
  bool offered = false;   ///< the engine lists the slide
  bool playable = false;  ///< and plays its L1
  bool window = false;    ///< L2 is listed
  bool window_playable = false;
  Cell run_first = kNoCell;  ///< the run that collapses
  int run_axis = 0;
  int run_length = 0;
  Cell longest_first = kNoCell;  ///< the run whose first q cells are the window of L2
  int longest_axis = 0;
};

template <class B>
inline SlideLines slide_lines(const State<B>& s, Seat seat, Cell from, Cell to) {
  SlideLines out;
  const int q = s.rules.line_length;
  const int base = kBoardInfo[static_cast<int>(B::kId)].base_line_length;
  int longest = 0;
  for (int axis = 0; axis < B::kAxes; ++axis) {
    const auto [first, length] = run_through(s, seat, to, from, axis);
    if (length > longest) {
      longest = length;
      out.longest_first = first;
      out.longest_axis = axis;
    }
    if (out.run_length == 0 && length >= base) {
      out.run_first = first;
      out.run_axis = axis;
      out.run_length = length;
    }
  }
  out.offered = longest >= q;
  out.playable = out.offered && out.run_length >= q;
  out.window = longest > q;
  if (out.window && out.playable)
    for (int i = 0; i < q; ++i)
      out.window_playable = out.window_playable || B::go(out.longest_first, out.longest_axis, i) == to;
  return out;
}

}  // namespace rr
