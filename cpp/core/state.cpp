#include "state.h"

#include <cstring>

namespace rr {

template <class B>
State<B>::State(const Rules& r) {
  static_assert(std::is_trivially_copyable_v<State>);
  std::memset(static_cast<void*>(this), 0, sizeof(*this));
  rules = r;
  for (int s = 0; s < r.seats; ++s) hand[s] = r.rings;
  rings_total = static_cast<uint16_t>(r.rings * r.seats);
  for (int c = 0; c < B::kFrame; ++c) cap[c] = kBlockedCap;
  for (auto& axis : blk)
    for (uint32_t& word : axis) word = ~0u;
  kBoardBits<B>.for_each([&](Cell c) {
    cap[c] = 0;
    unblock(c);
  });
  phase = Phase::RingPlacement;
  no_history = true;
  swap = r.swap_rule ? SwapState::BeforeFirstMove : SwapState::Never;
  lps.first = lps.exclusive = kNoSeat;
  winner = kNoSeat;
}

template <class B>
uint64_t recomputed_key(const State<B>& state) {
  uint64_t key = state.key_turn();
  for (int i = 0; i < B::kSlots; ++i)
    if (state.stack[i] != 0) key ^= stack_key(B::from_slot(i), state.stack[i]);
  for (Seat s = 0; s < kMaxSeats; ++s) {
    state.marker[s].for_each([&](Cell c) { key ^= marker_key(c, s); });
    state.territory[s].for_each([&](Cell c) { key ^= collapsed_key(c, s); });
  }
  return key;
}

template <class B>
std::string check_invariants(const State<B>& state) {
  using Ops = typename State<B>::Ops;
  using Bits = typename B::Bits;
  const auto at = [](Cell c) { return std::to_string(B::x(c)) + "," + std::to_string(B::y(c)); };
  State<B> fresh(state.rules);
  int rings = 0;
  Bits used{};
  for (int i = 0; i < B::kSlots; ++i) {
    const Cell c = B::from_slot(i);
    const auto stack = state.stack[i];
    if (stack == 0) continue;
    if (!kBoardBits<B>.test(c)) return "a stack stands off the board at " + at(c);
    const int height = Ops::height(stack);
    if (height < 1 || height > B::kMaxHeight || (Ops::rings(stack) >> 2 * height) != 0)
      return "the stack at " + at(c) + " is malformed";
    for (int k = 0; k < height; ++k) {
      if (Ops::ring(stack, k) >= state.seats()) return "the stack at " + at(c) + " has a ring of no seat";
      ++fresh.rings_on_board[Ops::ring(stack, k)];
    }
    rings += height;
    fresh.set_stack(c, stack);
    used.set(c);
  }
  for (Seat s = 0; s < kMaxSeats; ++s)
    for (const Bits* b : {&state.marker[s], &state.territory[s]}) {
      if (b->andnot(kBoardBits<B>).any()) return "something lies off the board";
      if ((used & *b).any()) return "two things lie on " + at((used & *b).lowest());
      used |= *b;
      if (s >= state.seats() && b->any()) return "a marker or territory belongs to no seat";
    }
  for (Seat s = 0; s < kMaxSeats; ++s) {
    state.marker[s].for_each([&](Cell c) { fresh.put_marker(c, s); });
    state.territory[s].for_each([&](Cell c) { fresh.collapse(c, s); });
    const std::string seat = "seat " + std::to_string(s + 1);
    if (fresh.rings_on_board[s] != state.rings_on_board[s]) return seat + ": rings on the board are miscounted";
    if (fresh.stacks[s] != state.stacks[s]) return seat + ": stacks are miscounted";
    if (fresh.markers[s] != state.markers[s]) return seat + ": markers are miscounted";
    if (fresh.collapsed[s] != state.collapsed[s]) return seat + ": territory is miscounted";
    if (!(fresh.control[s] == state.control[s])) return seat + ": control is wrong";
    rings += state.hand[s] + state.eliminated[s];
  }
  if (!(fresh.tall == state.tall)) return "tall stacks are wrong";
  if (rings != state.rings_total)
    return std::to_string(rings) + " rings exist where there were " + std::to_string(state.rings_total);
  if (std::memcmp(fresh.cap, state.cap, sizeof fresh.cap) != 0) return "cap heights are wrong";
  if (std::memcmp(fresh.blk, state.blk, sizeof fresh.blk) != 0) return "blocked lines are wrong";
  if (fresh.key_board != state.key_board) return "the key differs from the recomputed key";
  return {};
}

#define RR_INSTANTIATE(B, ...)                            \
  template struct State<B>;                               \
  template std::string check_invariants(const State<B>&); \
  template uint64_t recomputed_key(const State<B>&);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
