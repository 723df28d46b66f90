#include "movegen.h"

#include "queries.h"

namespace rr {
namespace {

/// Rules sections 3.1 and 4.
template <class B>
void placements(const State<B>& s, MoveList& out) {
  const Seat me = s.to_move;
  if (s.hand[me] == 0) return out.push(Move::make(MoveType::NoPlacement));
  const auto open = open_cells(s);
  const auto empty = open.andnot(s.marker_bits());
  const auto live = step_masks<B, 3>(open);
  const int most = std::min<int>(3, s.hand[me]);
  auto candidates = empty;  // for two rings and for three: where one may be placed
  for (int n = 1; n <= most; ++n) {
    auto cells = candidates & live[static_cast<size_t>(n - 1)];
    candidates.andnot(cells).for_each([&](Cell c) {
      if (has_capture(s, c, n, n)) cells.set(c);
    });
    out.push_cells(cells, Move::make(MoveType::Place, 0, 0, n));
    if (n == 1) candidates = cells;
  }
  const auto stacks = s.stack_bits();
  auto cells = (stacks & live[2]).andnot(s.tall);  // three steps are enough for them
  stacks.andnot(cells).for_each([&](Cell c) {
    if (may_place_on_stack(s, c, me)) cells.set(c);
  });
  out.push_cells(cells, Move::make(MoveType::Place, 0, 0, 1));
  if (s.stacks[me] > 0 ? any_stack_action(s, me) : s.may_recover(me)) out.push(Move::make(MoveType::SkipPlacement));
  if (s.swap == SwapState::Available && me == 1) out.push(Move::make(MoveType::Swap));
  if (out.size == 0) out.push(Move::make(MoveType::NoPlacement));
}

/// Captures of the stack on c (rules section 6), and its plain moves (section 5) where `Steps`.
template <bool Steps, class B>
void stack_moves(const State<B>& s, Cell c, MoveType capture, MoveList& out) {
  const int height = State<B>::Ops::height(s.stack_at(c));
  const int cap = s.cap[c];
  Move* end = out.moves + out.size;
  unroll<B::kDirs>([&]<int D>() {
    const int before = s.template run<D>(c);
    if constexpr (Steps)
      end = write_run(end, Move::make(MoveType::Step, c, D, height), Move::kDistanceStep, before - height + 1);
    const Cell target = B::go(c, D, before + 1);
    const int first = std::max(height, before + 2);
    const int last = s.cap[target] <= cap ? before + 1 + s.template run<D>(target) : 0;
    end = write_run(end, Move::make(capture, c, D, before + 1, first), Move::kLandingStep, last - first + 1);
  });
  out.size = static_cast<int>(end - out.moves);
}

/// Recovery slides (rules section 8): the legal ones, or those that are listed and then refused.
template <class B>
void slides(const State<B>& s, bool refused, MoveList& out) {
  const Seat me = s.to_move;
  const auto empty = kBoardBits<B>.andnot(s.stack_bits() | s.collapsed_bits() | s.marker_bits());
  bool line_slides = false;
  s.marker[me].for_each([&](Cell from) {
    for (int d = 0; d < B::kDirs; ++d) {
      const Cell to = B::go(from, d, 1);
      if (!empty.test_framed(to)) continue;
      const SlideLines lines = slide_lines(s, me, from, to);
      if (!lines.offered) continue;
      line_slides = true;
      if (lines.playable != refused) out.push(Move::make(MoveType::SlideLine, from, d));
      if (lines.window && lines.window_playable != refused) out.push(Move::make(MoveType::SlideLineFree, from, d));
    }
  });
  if (line_slides || refused) return;
  const auto stacks = s.stack_bits();
  s.marker[me].for_each([&](Cell from) {
    for (int d = 0; d < B::kDirs; ++d) {
      const Cell to = B::go(from, d, 1);
      if (empty.test_framed(to)) out.push(Move::make(MoveType::SlideStep, from, d));
      if (stacks.test_framed(to)) out.push(Move::make(MoveType::SlideStrike, from, d));
    }
  });
}

/// Rules section 3.2.
template <class B>
void movements(const State<B>& s, MoveList& out) {
  const Seat me = s.to_move;
  if (s.must_move != kNoCell)
    stack_moves<true>(s, s.must_move, MoveType::Capture, out);
  else
    s.control[me].for_each([&](Cell c) { stack_moves<true>(s, c, MoveType::Capture, out); });
  if (s.may_recover(me)) {
    out.push(Move::make(MoveType::SkipRecovery));
    slides(s, false, out);
  }
  if (out.size == 0) out.push(Move::make(MoveType::NoMovement));
}

/// Rules section 3.5.
template <class B>
void line_moves(const State<B>& s, MoveList& out) {
  const Seat me = s.to_move;
  const int q = s.rules.line_length;
  any_line(s, me, [&](Cell first, int axis, int length) {
    if (length == q) {
      out.push(Move::make(MoveType::Line, first, axis, length));
    } else {
      out.push(Move::make(MoveType::LineAll, first, axis, length));
      for (int k = 0; k <= length - q; ++k) out.push(Move::make(MoveType::LineWindow, first, axis, length, k));
    }
    return false;
  });
  if (s.owes_line) out.push_cells(s.control[me], Move::make(MoveType::EliminateLine));
  if (out.size == 0) out.push(Move::make(MoveType::NoLine));
}

/// Rules sections 3.6 and 9.
template <class B>
void territory_moves(const State<B>& s, MoveList& out) {
  const Seat me = s.to_move;
  if (s.owes_territory) {
    if (s.recovery_turn)
      s.stack_bits().for_each([&](Cell c) {
        if (State<B>::Ops::lowest_ring(s.stack_at(c), me) > 0) out.push(Move::make(MoveType::EliminateRecovery, c));
      });
    else
      out.push_cells(s.control[me], Move::make(MoveType::EliminateTerritory));
    return;
  }
  any_region(s, [&](const typename B::Bits& cells, Seat border) {
    out.push(Move::make(MoveType::Territory, cells.lowest(), 0, border == kNoSeat ? 0 : border + 1));
    return false;
  });
  out.push(Move::make(out.size == 0 ? MoveType::NoTerritory : MoveType::SkipTerritory));
}

}  // namespace

template <class B>
void generate(const State<B>& s, MoveList& out) {
  out.size = 0;
  switch (s.phase) {
    case Phase::RingPlacement:
      return placements(s, out);
    case Phase::Movement:
      return movements(s, out);
    case Phase::Capture:
      stack_moves<false>(s, s.active, MoveType::Capture, out);
      return out.push(Move::make(MoveType::SkipCapture));
    case Phase::ChainCapture:
      return stack_moves<false>(s, s.active, MoveType::ChainCapture, out);
    case Phase::LineProcessing:
      return line_moves(s, out);
    case Phase::TerritoryProcessing:
      return territory_moves(s, out);
    case Phase::ForcedElimination:
      return out.push_cells(s.control[s.to_move], Move::make(MoveType::ForcedElimination));
    case Phase::GameOver:
      return;
  }
}

template <class B>
void generate_refused(const State<B>& s, MoveList& out) {
  out.size = 0;
  if (s.phase == Phase::Movement && s.may_recover(s.to_move)) slides(s, true, out);
}

template <class B>
void extractions(const State<B>& s, std::vector<Cell>& out) {
  out.clear();
  s.stack_bits().for_each([&](Cell c) {
    if (State<B>::Ops::lowest_ring(s.stack_at(c), s.to_move) > 0) out.push_back(c);
  });
}

template <class B>
void generate_playable(const State<B>& s, std::vector<Move>& out) {
  MoveList legal;
  generate(s, legal);
  out.clear();
  std::vector<Cell> cells;
  for (const Move m : legal) {
    if (!m.costs_ring()) {
      out.push_back(m);
      continue;
    }
    if (cells.empty()) extractions(s, cells);
    for (const Cell c : cells) out.push_back(m.with_extraction(c));
  }
}

template <class B>
bool is_playable(const State<B>& s, Move move) {
  MoveList legal;
  generate(s, legal);
  const Move bare = move.costs_ring() ? move.with_extraction(kNoCell) : move;
  if (std::find(legal.begin(), legal.end(), bare) == legal.end()) return false;
  if (!move.costs_ring()) return true;
  std::vector<Cell> cells;
  extractions(s, cells);
  return std::find(cells.begin(), cells.end(), move.extraction()) != cells.end();
}

#define RR_INSTANTIATE(B, ...)                                          \
  template void generate(const State<B>&, MoveList&);                   \
  template void generate_refused(const State<B>&, MoveList&);           \
  template void extractions(const State<B>&, std::vector<Cell>&);       \
  template void generate_playable(const State<B>&, std::vector<Move>&); \
  template bool is_playable(const State<B>&, Move);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
