#include "apply.h"

#include "outcome.h"
#include "queries.h"

namespace rr {
namespace {

template <class B>
struct Applier {
  using Ops = typename State<B>::Ops;
  using Stack = typename B::Stack;
  using Bits = typename B::Bits;

  State<B>& s;
  const Seat me = s.to_move;

  /// The colour of a ring that leaves the board for the mover's credit.
  void credit(Seat colour) {
    --s.rings_on_board[colour];
    ++s.eliminated[me];
  }

  /// Eliminates the n top rings of the stack on c.
  void eliminate_top(Cell c, int n) {
    const Stack stack = s.stack_at(c);
    for (int i = 0; i < n; ++i) credit(Ops::ring(stack, i));
    s.set_stack(c, Ops::pop(stack, n));
  }

  /// Eliminates the bottom-most ring of the mover in the stack on c.
  void extract(Cell c) {
    const Stack stack = s.stack_at(c);
    credit(me);
    s.set_stack(c, Ops::remove(stack, Ops::lowest_ring(stack, me)));
  }

  /// Markers strictly between two cells of a ray: own ones collapse, others become the mover's.
  void pass(Cell from, int dir, int begin, int end, const Bits& markers) {
    for (int k = begin; k < end; ++k) {
      const Cell c = B::go(from, dir, k);
      if (!markers.test(c)) continue;
      if (s.marker[me].test(c)) {
        s.take_marker(c, me);
        s.collapse(c, me);
      } else {
        take_any_marker(c);
        s.put_marker(c, me);
      }
    }
  }

  void take_any_marker(Cell c) {
    for (Seat b = 0; b < s.seats(); ++b)
      if (s.marker[b].test(c)) return s.take_marker(c, b);
  }

  /// Sets a moving stack down; on a marker it pays its top ring.
  void land(Cell c, Stack stack, const Bits& markers) {
    if (markers.test(c)) {
      take_any_marker(c);
      credit(Ops::top(stack));
      stack = Ops::pop(stack, 1);
    }
    if (stack != 0) s.set_stack(c, stack);
  }

  /// Goes on capturing from c in the given phase where that is possible, else to the lines.
  void after_landing(Cell c, Phase next) {
    if (s.control[me].test(c) && has_capture(s, c, Ops::height(s.stack_at(c)), s.cap[c])) {
      s.phase = next;
      s.active = c;
      if (s.must_move != kNoCell) s.must_move = c;
    } else {
      to_lines();
    }
  }

  void to_lines() {
    s.phase = Phase::LineProcessing;
    s.must_move = s.active = kNoCell;
    s.owes_line = false;
  }

  void to_territory() {
    s.phase = Phase::TerritoryProcessing;
    s.owes_line = s.owes_territory = false;
  }

  void place(Move m) {
    const Cell c = m.cell();
    const int n = m.count();
    s.hand[me] = static_cast<uint16_t>(s.hand[me] - n);
    s.rings_on_board[me] = static_cast<uint16_t>(s.rings_on_board[me] + n);
    s.set_stack(c, Ops::push(s.stack_at(c), me, n));
    s.must_move = c;
    s.phase = Phase::Movement;
  }

  void step(Move m) {
    const Cell from = m.cell(), to = B::go(from, m.dir(), m.distance());
    const Stack stack = s.stack_at(from);
    const Bits markers = s.marker_bits();
    s.set_stack(from, 0);
    s.put_marker(from, me);
    pass(from, m.dir(), 1, m.distance(), markers);
    land(to, stack, markers);
    after_landing(to, Phase::Capture);
  }

  void capture(Move m) {
    const Cell from = m.cell();
    const Cell over = B::go(from, m.dir(), m.distance());
    const Cell to = B::go(from, m.dir(), m.landing());
    const Stack stack = s.stack_at(from), target = s.stack_at(over);
    const Bits markers = s.marker_bits();
    s.set_stack(from, 0);
    s.put_marker(from, me);
    pass(from, m.dir(), 1, m.distance(), markers);
    pass(from, m.dir(), m.distance() + 1, m.landing(), markers);
    s.set_stack(over, Ops::pop(target, 1));
    land(to, Ops::push_bottom(stack, Ops::top(target)), markers);
    after_landing(to, Phase::ChainCapture);
  }

  void collapse_marker(Cell c) {
    s.take_marker(c, me);
    s.collapse(c, me);
  }

  /// Rules section 8.
  void slide(Move m) {
    const Cell from = m.cell(), to = B::go(from, m.dir(), 1);
    SlideLines lines{};
    if (m.type() == MoveType::SlideLine || m.type() == MoveType::SlideLineFree) lines = slide_lines(s, me, from, to);
    s.take_marker(from, me);
    if (m.type() == MoveType::SlideStrike)
      eliminate_top(to, 1);
    else
      s.put_marker(to, me);
    const int q = s.rules.line_length;
    if (m.type() == MoveType::SlideLineFree && lines.run_length > q)
      for (int i = 0; i < q; ++i) collapse_marker(B::go(lines.longest_first, lines.longest_axis, i));
    else if (lines.run_length > 0)
      for (int i = 0; i < lines.run_length; ++i) collapse_marker(B::go(lines.run_first, lines.run_axis, i));
    if (m.costs_ring()) extract(m.extraction());
    s.recovery_turn = true;
    to_lines();
  }

  /// Rules section 7.
  void line(Move m) {
    const bool window = m.type() == MoveType::LineWindow;
    const int begin = window ? m.offset() : 0;
    const int end = window ? begin + s.rules.line_length : m.length();
    for (int i = begin; i < end; ++i) collapse_marker(B::go(m.cell(), m.dir(), i));
    s.owes_line = !window && s.stacks[me] > 0;
    if (!s.owes_line && !any_line(s, me)) to_territory();
  }

  void no_line() {
    if (!s.real_action && s.stacks[me] > 0 && !any_region(s))
      s.phase = Phase::ForcedElimination;
    else
      to_territory();
  }

  /// Rules section 9.
  void territory(Move m) {
    const Bits cells = region_cells(s, m);
    const Bits markers = s.marker_bits();
    const Bits walls = markers.andnot(cells);
    Bits border = B::grown(cells) & walls;
    if constexpr (B::kId != BoardId::Hexagonal) {
      for (;;) {
        const Bits next = B::grown8(border) & walls;
        if (next == border) break;
        border = next;
      }
    }
    (cells & s.stack_bits()).for_each([&](Cell c) { eliminate_top(c, Ops::height(s.stack_at(c))); });
    const Bits all = cells | border;
    (all & markers).for_each([&](Cell c) { take_any_marker(c); });
    all.for_each([&](Cell c) { s.collapse(c, me); });
    s.owes_territory = true;
  }

  void after_territory_elimination() {
    s.owes_territory = false;
    if (!any_region(s)) end_turn(s);
  }

  void end_or_forced() {
    if (!s.real_action && s.stacks[me] > 0)
      s.phase = Phase::ForcedElimination;
    else
      end_turn(s);
  }
};

constexpr bool is_real_action(MoveType t) {
  switch (t) {
    case MoveType::SkipPlacement:
    case MoveType::NoPlacement:
    case MoveType::SkipCapture:
    case MoveType::NoMovement:
    case MoveType::SkipRecovery:
    case MoveType::NoLine:
    case MoveType::SkipTerritory:
    case MoveType::NoTerritory:
      return false;
    default:
      return true;
  }
}

}  // namespace

template <class B>
typename B::Bits region_cells(const State<B>& s, Move m) {
  typename B::Bits seed{};
  seed.set(m.cell());
  return flood<B>(seed, region_mask(s, m.border()));
}

template <class B>
void apply(State<B>& s, Move m) {
  Applier<B> a{s};
  if (s.swap != SwapState::Never) {
    if (a.me == 1)
      s.swap = SwapState::Never;
    else
      s.swap = SwapState::Available;
  }
  const MoveType type = m.type();
  if (is_real_action(type)) s.real_action = true;
  const bool first = s.no_history;
  switch (type) {
    case MoveType::Place:
      a.place(m);
      break;
    case MoveType::SkipPlacement:
    case MoveType::NoPlacement:
      s.phase = Phase::Movement;
      break;
    case MoveType::Swap:
      break;
    case MoveType::Step:
      a.step(m);
      break;
    case MoveType::Capture:
    case MoveType::ChainCapture:
      a.capture(m);
      break;
    case MoveType::SkipCapture:
    case MoveType::NoMovement:
    case MoveType::SkipRecovery:
      a.to_lines();
      break;
    case MoveType::SlideLine:
    case MoveType::SlideLineFree:
    case MoveType::SlideStep:
    case MoveType::SlideStrike:
      a.slide(m);
      break;
    case MoveType::Line:
    case MoveType::LineAll:
    case MoveType::LineWindow:
      a.line(m);
      break;
    case MoveType::EliminateLine:
      a.eliminate_top(m.cell(), 1);
      s.owes_line = false;
      break;
    case MoveType::NoLine:
      a.no_line();
      break;
    case MoveType::Territory:
      a.territory(m);
      break;
    case MoveType::EliminateTerritory:
      a.eliminate_top(m.cell(), s.cap[m.cell()]);
      a.after_territory_elimination();
      break;
    case MoveType::EliminateRecovery:
      a.extract(m.cell());
      a.after_territory_elimination();
      break;
    case MoveType::SkipTerritory:
    case MoveType::NoTerritory:
      a.end_or_forced();
      break;
    case MoveType::ForcedElimination:
      a.eliminate_top(m.cell(), s.cap[m.cell()]);
      end_turn(s);
      break;
  }
  if (first) s.no_history = false;
}

#define RR_INSTANTIATE(B, ...)          \
  template void apply(State<B>&, Move); \
  template typename B::Bits region_cells(const State<B>&, Move);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
