// Where the policy keeps the logit of a move. The policy is not a vector over all moves: each playable move gathers its
// logit from planes over the cells and a few global logits. Two moves of one playable list never share an address pair.
#pragma once

#include <string_view>

#include "state.h"

namespace rr {

/// A row of the policy table: `count` planes in a row, or global logits.
struct PolicyRow {
  std::string_view name;
  std::string_view meaning;
  int count;
};

inline constexpr PolicyRow kPolicyTable[] = {
    {"place", "placement of 1, 2 or 3 rings, at its cell", 3},
    {"step", "plain move at its landing cell, by the direction back to the origin", 8},
    {"capture", "capture or chain capture at its landing cell, by the direction back: target first, then attacker", 8},
    {"line", "line taken whole, at its first cell, by axis", 4},
    {"window", "window of an over-length line at the window's first cell, by axis", 4},
    {"region", "region at its lowest cell, by its border seat, rotated; the last plane is for none", 5},
    {"slide", "recovery slide that costs a ring, at the marker's cell, by direction", 8},
    {"free_slide", "recovery slide that costs nothing, at the marker's cell, by direction", 8},
    {"pay", "elimination, forced elimination, or extraction of a slide, at the stack's cell", 1},
};

/// Moves without a cell. A move that stands alone whenever it is legal (NP, NM, NL, NT) shares one of these.
inline constexpr PolicyRow kPolicyGlobalTable[] = {
    {"skip_placement", "SP, NP", 1}, {"swap", "SW", 1}, {"skip_capture", "SC, NL", 1}, {"skip_recovery", "SR, NM", 1},
    {"skip_territory", "ST, NT", 1},
};

template <int N>
constexpr int policy_count(const PolicyRow (&table)[N]) {
  int n = 0;
  for (const PolicyRow& row : table) n += row.count;
  return n;
}

inline constexpr int kPolicyPlanes = policy_count(kPolicyTable);
inline constexpr int kPolicyGlobals = policy_count(kPolicyGlobalTable);

/// Logits of one position: the planes flattened as [plane][row][column], then the globals.
template <class B>
inline constexpr int kPolicyLength = kPolicyPlanes * B::kSlots + kPolicyGlobals;

/// The logit of a move is the sum of those at `move` and, where it is not -1, at `extraction`.
struct Address {
  int32_t move;
  int32_t extraction;
  bool operator==(const Address&) const = default;
};

/// First plane or global of a row; asking for a name that is not in the table does not compile.
template <int N>
consteval int policy_offset(const PolicyRow (&table)[N], std::string_view name) {
  int n = 0;
  for (const PolicyRow& row : table) {
    if (row.name == name) return n;
    n += row.count;
  }
  throw "no such row";
}

/// The address of a playable move of `to_move` in a game of `seats`.
template <class B>
inline Address policy_address(Move m, Seat to_move, int seats) {
  const auto at = [](int plane, Cell c) { return Address{plane * B::kSlots + B::slot(c), -1}; };
  const auto global = [](int k) { return Address{kPolicyPlanes * B::kSlots + k, -1}; };
  constexpr int kPay = policy_offset(kPolicyTable, "pay");
  switch (m.type()) {
    case MoveType::Place:
      return at(policy_offset(kPolicyTable, "place") + m.count() - 1, m.cell());
    case MoveType::SkipPlacement:
    case MoveType::NoPlacement:
      return global(policy_offset(kPolicyGlobalTable, "skip_placement"));
    case MoveType::Swap:
      return global(policy_offset(kPolicyGlobalTable, "swap"));
    case MoveType::Step:
      return at(policy_offset(kPolicyTable, "step") + B::opposite(m.dir()), B::go(m.cell(), m.dir(), m.distance()));
    case MoveType::Capture:
    case MoveType::ChainCapture:
      return at(policy_offset(kPolicyTable, "capture") + B::opposite(m.dir()), B::go(m.cell(), m.dir(), m.landing()));
    case MoveType::SkipCapture:
    case MoveType::NoLine:
      return global(policy_offset(kPolicyGlobalTable, "skip_capture"));
    case MoveType::SkipRecovery:
    case MoveType::NoMovement:
      return global(policy_offset(kPolicyGlobalTable, "skip_recovery"));
    case MoveType::SlideLine:
    case MoveType::SlideStep:
    case MoveType::SlideStrike:
      return {at(policy_offset(kPolicyTable, "slide") + m.dir(), m.cell()).move, at(kPay, m.extraction()).move};
    case MoveType::SlideLineFree:
      return at(policy_offset(kPolicyTable, "free_slide") + m.dir(), m.cell());
    case MoveType::Line:
    case MoveType::LineAll:
      return at(policy_offset(kPolicyTable, "line") + m.dir(), m.cell());
    case MoveType::LineWindow:
      return at(policy_offset(kPolicyTable, "window") + m.dir(), B::go(m.cell(), m.dir(), m.offset()));
    case MoveType::Territory: {
      const int border = m.border() == kNoSeat ? kMaxSeats : (m.border() + seats - to_move) % seats;
      return at(policy_offset(kPolicyTable, "region") + border, m.cell());
    }
    case MoveType::SkipTerritory:
    case MoveType::NoTerritory:
      return global(policy_offset(kPolicyGlobalTable, "skip_territory"));
    case MoveType::EliminateLine:
    case MoveType::EliminateTerritory:
    case MoveType::EliminateRecovery:
    case MoveType::ForcedElimination:
      break;
  }
  return at(kPay, m.cell());
}

}  // namespace rr
