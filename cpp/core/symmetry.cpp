#include "symmetry.h"

#include <algorithm>
#include <array>

#include "apply.h"
#include "movegen.h"

namespace rr {
namespace {

template <class B>
Step map_step(Step s, int g) {
  if constexpr (B::kHex) {
    if (g >= 6) std::swap(s.dx, s.dy);
    for (int i = 0; i < g % 6; ++i) s = {s.dx + s.dy, -s.dx};
  } else {
    if (g >= 4) s.dy = -s.dy;
    for (int i = 0; i < g % 4; ++i) s = {s.dy, -s.dx};
  }
  return s;
}

/// Where every cell and every direction goes.
template <class B>
struct Map {
  std::array<std::array<Cell, B::kFrame>, kSymmetries<B>> cells{};
  std::array<std::array<uint8_t, B::kDirs>, kSymmetries<B>> dirs{};

  Map() {
    for (int g = 0; g < kSymmetries<B>; ++g) {
      for (int slot = 0; slot < B::kSlots; ++slot) {
        const Cell c = B::from_slot(slot);
        if (B::on_board(B::x(c), B::y(c))) cells[static_cast<size_t>(g)][c] = image_of(c, g);
      }
      for (int dir = 0; dir < B::kDirs; ++dir)
        for (int d = 0; d < B::kDirs; ++d) {
          const Step to = map_step<B>(B::step(dir), g);
          if (B::step(d).dx == to.dx && B::step(d).dy == to.dy)
            dirs[static_cast<size_t>(g)][static_cast<size_t>(dir)] = static_cast<uint8_t>(d);
        }
    }
  }
  static Cell image_of(Cell c, int g) {
    if constexpr (B::kHex) {
      const Step s = map_step<B>({B::x(c), B::y(c)}, g);
      return B::from_xy(s.dx, s.dy);
    } else {  // doubled coordinates around the centre of the board
      const Step s = map_step<B>({2 * B::x(c) - B::kWidth + 1, 2 * B::y(c) - B::kWidth + 1}, g);
      return B::from_xy((s.dx + B::kWidth - 1) / 2, (s.dy + B::kWidth - 1) / 2);
    }
  }
};
template <class B>
const Map<B> kMap;

template <class B>
typename B::Bits map_bits(const typename B::Bits& bits, int g) {
  typename B::Bits out{};
  bits.for_each([&](Cell c) { out.set(map_cell<B>(c, g)); });
  return out;
}

/// Playable moves mapped by g, in numerical order.
template <class B>
std::vector<uint32_t> sorted_moves(const State<B>& s, const std::vector<Move>& moves, int g) {
  std::vector<uint32_t> out;
  for (const Move m : moves) out.push_back(transform_move(s, m, g).bits);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

template <class B>
Cell map_cell(Cell c, int g) {
  return kMap<B>.cells[static_cast<size_t>(g)][c];
}

template <class B>
int map_direction(int dir, int g) {
  return kMap<B>.dirs[static_cast<size_t>(g)][static_cast<size_t>(dir)];
}

template <class B>
int inverse_symmetry(int g) {
  constexpr int turns = kSymmetries<B> / 2;
  return g >= turns ? g : (turns - g) % turns;  // a reflection undoes itself
}

template <class B>
State<B> transform(const State<B>& s, int g) {
  State<B> out(s.rules);
  for (Seat p = 0; p < kMaxSeats; ++p) {
    s.marker[p].for_each([&](Cell c) { out.put_marker(map_cell<B>(c, g), p); });
    s.territory[p].for_each([&](Cell c) { out.collapse(map_cell<B>(c, g), p); });
    out.hand[p] = s.hand[p];
    out.eliminated[p] = s.eliminated[p];
    out.rings_on_board[p] = s.rings_on_board[p];
    out.out[p] = s.out[p];
  }
  s.stack_bits().for_each([&](Cell c) { out.set_stack(map_cell<B>(c, g), s.stack_at(c)); });
  out.rings_total = s.rings_total;
  out.phase = s.phase;
  out.to_move = s.to_move;
  out.must_move = map_cell<B>(s.must_move, g);
  out.active = map_cell<B>(s.active, g);
  out.owes_line = s.owes_line;
  out.owes_territory = s.owes_territory;
  out.real_action = s.real_action;
  out.recovery_turn = s.recovery_turn;
  out.no_history = s.no_history;
  out.swap = s.swap;
  out.lps = s.lps;
  out.winner = s.winner;
  out.reason = s.reason;
  out.detail = s.detail;
  return out;
}

template <class B>
Move transform_move(const State<B>& s, Move m, int g) {
  const MoveType type = m.type();
  const Cell c = m.cell();
  if (c == kNoCell) return m;
  switch (type) {
    case MoveType::Line:
    case MoveType::LineAll:
    case MoveType::LineWindow: {
      const int dir = map_direction<B>(m.dir(), g);
      if (dir < B::kAxes) return Move::make(type, map_cell<B>(c, g), dir, m.a(), m.b());
      // The image runs against its axis: it begins at the other end.
      const Cell first = map_cell<B>(B::go(c, m.dir(), m.length() - 1), g);
      const int offset = type == MoveType::LineWindow ? m.length() - s.rules.line_length - m.offset() : 0;
      return Move::make(type, first, dir - B::kAxes, m.a(), offset);
    }
    case MoveType::Territory:
      return Move::make(type, map_bits<B>(region_cells(s, m), g).lowest(), 0, m.a());
    case MoveType::Step:
    case MoveType::Capture:
    case MoveType::ChainCapture:
      return Move::make(type, map_cell<B>(c, g), map_direction<B>(m.dir(), g), m.a(), m.b());
    case MoveType::SlideLine:
    case MoveType::SlideLineFree:
    case MoveType::SlideStep:
    case MoveType::SlideStrike:
      return Move::make(type, map_cell<B>(c, g), map_direction<B>(m.dir(), g))
          .with_extraction(map_cell<B>(m.extraction(), g));
    default:
      return Move::make(type, map_cell<B>(c, g), m.dir(), m.a(), m.b());
  }
}

template <class B>
bool successors_correspond(const State<B>& s, const State<B>& image, int g, Move m) {
  State<B> after = s, image_after = image;
  apply(after, m);
  apply(image_after, transform_move(s, m, g));
  return transform(after, g).key() == image_after.key();
}

template <class B>
bool symmetry_holds(const State<B>& s, int g, const std::vector<Move>& moves) {
  if (g == 0) return true;
  const State<B> image = transform(s, g);
  std::vector<Move> here, there;
  generate_playable(s, here);
  generate_playable(image, there);
  if (here.size() != there.size() || sorted_moves(s, here, g) != sorted_moves(image, there, 0)) return false;
  return std::all_of(moves.begin(), moves.end(), [&](Move m) { return successors_correspond(s, image, g, m); });
}

#define RR_INSTANTIATE(B, ...)                                                      \
  template Cell map_cell<B>(Cell, int);                                             \
  template int map_direction<B>(int, int);                                          \
  template int inverse_symmetry<B>(int);                                            \
  template State<B> transform(const State<B>&, int);                                \
  template Move transform_move(const State<B>&, Move, int);                         \
  template bool successors_correspond(const State<B>&, const State<B>&, int, Move); \
  template bool symmetry_holds(const State<B>&, int, const std::vector<Move>&);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
