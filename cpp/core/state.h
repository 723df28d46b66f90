// The whole state of a game: flat, cheap to copy, no pointers. Only apply.cpp and the text reader change one.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "geometry.h"
#include "zobrist.h"

namespace rr {

enum class Reason : uint8_t { None, RingElimination, TerritoryControl, LastPlayerStanding, LpsRounds };
enum class Detail : uint8_t {
  None,
  Threshold,
  SoleMaterial,
  StalemateTerritory,
  StalemateEliminated,
  StalemateMarkersOrLastActor,
  LpsRounds,
};

/// Tracker of rounds in which one seat alone could act (rules section 12).
struct LpsTracker {
  uint16_t round = 0;        ///< rounds begun; for reports only, not part of the key
  Seat first = kNoSeat;      ///< seat whose turn opens a round
  Seat exclusive = kNoSeat;  ///< the only seat with a real action in the last complete rounds
  uint8_t count = 0;         ///< complete rounds in a row with that same exclusive seat
  uint8_t seen = 0;          ///< bit s: seat s has begun a turn in this round
  uint8_t real = 0;          ///< bit s: it had a real action then
  bool operator==(const LpsTracker&) const = default;
};

/// Whether the pie rule can still be used.
enum class SwapState : uint8_t { Never, BeforeFirstMove, Available };

/// A stack is one word: the rings, two bits each with the top ring lowest, and the height in the highest byte.
template <class W>
struct StackOps {
  static constexpr int kTop = sizeof(W) * 8 - 8;
  static constexpr W kOnes = static_cast<W>(0x5555555555555555ULL);
  static constexpr W kRings = (W{1} << kTop) - 1;

  static constexpr int height(W s) { return static_cast<int>(s >> kTop); }
  static constexpr Seat top(W s) { return static_cast<Seat>(s & 3); }
  static constexpr W rings(W s) { return s & kRings; }
  static constexpr W make(W rings, int height) { return rings | static_cast<W>(height) << kTop; }
  /// Rings of the top colour counted from the top.
  static constexpr int cap(W s) {
    const W differs = (rings(s) ^ static_cast<W>(kOnes * top(s))) & kRings;
    const int same = differs == 0 ? kTop / 2 : std::countr_zero(differs) / 2;
    return std::min(same, height(s));
  }
  static constexpr Seat ring(W s, int from_top) { return static_cast<Seat>(s >> 2 * from_top & 3); }
  static constexpr W push(W s, Seat seat, int n) {
    W r = rings(s);
    for (int i = 0; i < n; ++i) r = static_cast<W>(r << 2 | seat);
    return make(r, height(s) + n);
  }
  static constexpr W push_bottom(W s, Seat seat) {
    return make(static_cast<W>(rings(s) | static_cast<W>(seat) << 2 * height(s)), height(s) + 1);
  }
  /// The stack without its n top rings; 0 when none is left.
  static constexpr W pop(W s, int n) {
    const int h = height(s) - n;
    return h == 0 ? W{0} : make(static_cast<W>(rings(s) >> 2 * n), h);
  }
  /// Place (from the top) of the bottom-most ring of a seat, or -1.
  static constexpr int lowest_ring(W s, Seat seat) {
    for (int i = height(s) - 1; i >= 0; --i)
      if (ring(s, i) == seat) return i;
    return -1;
  }
  static constexpr W remove(W s, int from_top) {
    const int h = height(s) - 1;
    if (h == 0) return 0;
    const W r = rings(s);
    const W low = r & ((W{1} << 2 * from_top) - 1);
    return make(static_cast<W>(low | (r >> 2 * (from_top + 1)) << 2 * from_top), h);
  }
};

inline constexpr uint8_t kBlockedCap = 255;  ///< `cap` of a cell that is off the board or collapsed

template <class B>
struct State {
  using Board = B;
  using Bits = typename B::Bits;
  using Stack = typename B::Stack;
  using Ops = StackOps<Stack>;

  // The board. `control`, `tall`, `cap`, `blk`, `stacks`, `markers`, `key_board` and `rings_on_board` follow from the rest.
  Bits control[kMaxSeats];            ///< stacks whose top ring is the seat's
  Bits tall;                          ///< stacks of three rings or more
  Bits marker[kMaxSeats];             ///< markers of the seat
  Bits territory[kMaxSeats];          ///< collapsed cells owned by the seat
  uint32_t blk[B::kAxes][B::kLines];  ///< per line of each axis: bit = place is a stack, collapsed or off the board
  Stack stack[B::kSlots];             ///< 0: no stack; indexed by B::slot(cell)
  uint8_t cap[B::kFrame];             ///< cap height; 0: no stack; kBlockedCap: off the board or collapsed
  uint64_t key_board;                 ///< xor of the keys of everything on the board
  uint16_t stacks[kMaxSeats];         ///< stacks controlled by the seat
  uint16_t markers[kMaxSeats];        ///< markers of the seat on the board
  uint16_t rings_on_board[kMaxSeats];

  // The seats.
  uint16_t hand[kMaxSeats];        ///< rings not yet placed
  uint16_t eliminated[kMaxSeats];  ///< rings eliminated and credited to the seat
  uint16_t collapsed[kMaxSeats];   ///< territory counter
  uint8_t out[kMaxSeats];          ///< 0: has rings; k: one of the k-th group of seats to lose their last ring

  uint16_t rings_total;  ///< rings in the game: hands, eliminated and on the board; never changes

  // The turn.
  Rules rules;
  Phase phase;
  Seat to_move;         ///< 0 in phase GameOver
  Cell must_move;       ///< stack that must move (it was placed on), or kNoCell
  Cell active;          ///< Capture and ChainCapture: the stack that may go on capturing, otherwise kNoCell
  bool owes_line;       ///< a ring is owed for a line
  bool owes_territory;  ///< the last ply chose a region whose elimination is owed
  bool real_action;     ///< the mover has done a real action this turn (rules section 3.5)
  bool recovery_turn;   ///< this turn contained a recovery slide
  bool no_history;      ///< no ply was made since the position was set up
  SwapState swap;
  LpsTracker lps;

  // The end.
  Seat winner;
  Reason reason;
  Detail detail;

  State() = default;
  /// The initial position.
  explicit State(const Rules& rules);

  int seats() const { return rules.seats; }
  bool over() const { return phase == Phase::GameOver; }
  Stack stack_at(Cell c) const { return stack[B::slot(c)]; }
  Bits stack_bits() const { return control[0] | control[1] | control[2] | control[3]; }
  Bits marker_bits() const { return marker[0] | marker[1] | marker[2] | marker[3]; }
  Bits collapsed_bits() const { return territory[0] | territory[1] | territory[2] | territory[3]; }
  int stack_count() const { return stacks[0] + stacks[1] + stacks[2] + stacks[3]; }
  bool has_rings(Seat s) const { return hand[s] + rings_on_board[s] > 0; }
  /// Rules section 8: no stack, a marker, and a ring below the top of somebody's stack.
  bool may_recover(Seat s) const { return stacks[s] == 0 && markers[s] > 0 && rings_on_board[s] > 0; }

  /// Free cells along a direction from c before the first stack, collapsed cell or edge.
  template <int Dir>
  int run(Cell c) const {
    constexpr int axis = Dir < B::kAxes ? Dir : Dir - B::kAxes;
    const uint32_t word = blk[axis][B::line(axis, c)];
    const int place = B::place(axis, c);
    if constexpr (Dir < B::kAxes)
      return std::countr_zero(word >> (place + 1));
    else
      return std::countl_zero(word << (32 - place));
  }

  /// Key of everything that decides the future of the game; equal keys mean equal futures.
  uint64_t key() const { return key_board ^ key_turn(); }
  uint64_t key_turn() const;

  // The only writers of the board; each keeps every derived field right.
  void set_stack(Cell c, Stack s);
  void put_marker(Cell c, Seat s);
  void take_marker(Cell c, Seat s);
  void collapse(Cell c, Seat s);

 private:
  void block(Cell c);
  void unblock(Cell c);
};

template <class B>
inline void State<B>::block(Cell c) {
  unroll<B::kAxes>([&]<int A>() { blk[A][B::line(A, c)] |= 1u << B::place(A, c); });
}

template <class B>
inline void State<B>::unblock(Cell c) {
  unroll<B::kAxes>([&]<int A>() { blk[A][B::line(A, c)] &= ~(1u << B::place(A, c)); });
}

template <class B>
inline void State<B>::set_stack(Cell c, Stack s) {
  Stack& here = stack[B::slot(c)];
  if (here != 0) {
    const Seat owner = Ops::top(here);
    control[owner].clear(c);
    --stacks[owner];
    key_board ^= stack_key(c, here);
    if (Ops::height(here) >= 3) tall.clear(c);
    if (s == 0) {
      unblock(c);
      cap[c] = 0;
    }
  } else if (s != 0) {
    block(c);
  }
  here = s;
  if (s != 0) {
    const Seat owner = Ops::top(s);
    control[owner].set(c);
    ++stacks[owner];
    key_board ^= stack_key(c, s);
    if (Ops::height(s) >= 3) tall.set(c);
    cap[c] = static_cast<uint8_t>(Ops::cap(s));
  }
}

template <class B>
inline void State<B>::put_marker(Cell c, Seat s) {
  marker[s].set(c);
  ++markers[s];
  key_board ^= marker_key(c, s);
}

template <class B>
inline void State<B>::take_marker(Cell c, Seat s) {
  marker[s].clear(c);
  --markers[s];
  key_board ^= marker_key(c, s);
}

/// Makes c the territory of s. The cell must hold neither a stack nor a marker.
template <class B>
inline void State<B>::collapse(Cell c, Seat s) {
  territory[s].set(c);
  ++collapsed[s];
  key_board ^= collapsed_key(c, s);
  cap[c] = kBlockedCap;
  block(c);
}

template <class B>
inline uint64_t State<B>::key_turn() const {
  uint64_t w0 = static_cast<uint64_t>(phase) | uint64_t{to_move} << 3 | uint64_t{must_move} << 5 |
                uint64_t{active} << 15 | uint64_t{owes_line} << 25 | uint64_t{owes_territory} << 26 |
                uint64_t{real_action} << 27 | uint64_t{recovery_turn} << 28 | uint64_t{no_history} << 29 |
                static_cast<uint64_t>(swap) << 30 | uint64_t{lps.seen} << 32 | uint64_t{lps.real} << 36 |
                static_cast<uint64_t>(lps.first & 7) << 40 | static_cast<uint64_t>(lps.exclusive & 7) << 43 |
                uint64_t{lps.count} << 46;
  uint64_t hands = 0, eliminations = 0, outs = 0;
  for (int s = 0; s < kMaxSeats; ++s) {
    hands |= uint64_t{hand[s]} << 16 * s;
    eliminations |= uint64_t{eliminated[s]} << 16 * s;
    outs |= static_cast<uint64_t>(out[s]) << 8 * s;
  }
  const uint64_t game = uint64_t{rules.seats} | uint64_t{rules.rings} << 8 | uint64_t{rules.lps_rounds} << 24 |
                        uint64_t{rules.swap_rule} << 32 | static_cast<uint64_t>(B::kId) << 40;
  const uint64_t end = static_cast<uint64_t>(winner) << 32 | static_cast<uint64_t>(reason) << 40;
  return mix(w0 + mix(hands + mix(eliminations + mix(outs + end + game * 0x9E3779B97F4A7C15ULL))));
}

#define RR_DECLARE(B, ...) extern template struct State<B>;
RR_BOARDS(RR_DECLARE)
#undef RR_DECLARE

/// What is unsound in a state, in one sentence; empty when nothing is. Compares every derived field with a recount,
/// looks for two things on one cell, and for rings that appeared or vanished.
template <class B>
std::string check_invariants(const State<B>& state);

/// The key computed afresh from the board.
template <class B>
uint64_t recomputed_key(const State<B>& state);

}  // namespace rr
