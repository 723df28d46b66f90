#include "actions.h"

namespace rr {
namespace {

template <int N>
consteval int offset_of(const PolicyRow (&table)[N], std::string_view name) {
  int n = 0;
  for (const PolicyRow& row : table) {
    if (row.name == name) return n;
    n += row.count;
  }
  throw "no such row";
}

}  // namespace

template <class B>
Address policy_address(Move m, Seat to_move, int seats) {
  const auto at = [](int plane, Cell c) { return Address{plane * B::kSlots + B::slot(c), -1}; };
  const auto global = [](int k) { return Address{kPolicyPlanes * B::kSlots + k, -1}; };
  constexpr int kPay = offset_of(kPolicyTable, "pay");
  switch (m.type()) {
    case MoveType::Place:
      return at(offset_of(kPolicyTable, "place") + m.count() - 1, m.cell());
    case MoveType::SkipPlacement:
    case MoveType::NoPlacement:
      return global(offset_of(kPolicyGlobalTable, "skip_placement"));
    case MoveType::Swap:
      return global(offset_of(kPolicyGlobalTable, "swap"));
    case MoveType::Step:
      return at(offset_of(kPolicyTable, "step") + B::opposite(m.dir()), B::go(m.cell(), m.dir(), m.distance()));
    case MoveType::Capture:
    case MoveType::ChainCapture:
      return at(offset_of(kPolicyTable, "capture") + B::opposite(m.dir()), B::go(m.cell(), m.dir(), m.landing()));
    case MoveType::SkipCapture:
    case MoveType::NoLine:
      return global(offset_of(kPolicyGlobalTable, "skip_capture"));
    case MoveType::SkipRecovery:
    case MoveType::NoMovement:
      return global(offset_of(kPolicyGlobalTable, "skip_recovery"));
    case MoveType::SlideLine:
    case MoveType::SlideStep:
    case MoveType::SlideStrike:
      return {at(offset_of(kPolicyTable, "slide") + m.dir(), m.cell()).move, at(kPay, m.extraction()).move};
    case MoveType::SlideLineFree:
      return at(offset_of(kPolicyTable, "free_slide") + m.dir(), m.cell());
    case MoveType::Line:
    case MoveType::LineAll:
      return at(offset_of(kPolicyTable, "line") + m.dir(), m.cell());
    case MoveType::LineWindow:
      return at(offset_of(kPolicyTable, "window") + m.dir(), B::go(m.cell(), m.dir(), m.offset()));
    case MoveType::Territory: {
      const int border = m.border() == kNoSeat ? kMaxSeats : (m.border() + seats - to_move) % seats;
      return at(offset_of(kPolicyTable, "region") + border, m.cell());
    }
    case MoveType::SkipTerritory:
    case MoveType::NoTerritory:
      return global(offset_of(kPolicyGlobalTable, "skip_territory"));
    case MoveType::EliminateLine:
    case MoveType::EliminateTerritory:
    case MoveType::EliminateRecovery:
    case MoveType::ForcedElimination:
      break;
  }
  return at(kPay, m.cell());
}

#define RR_INSTANTIATE(B) template Address policy_address<B>(Move, Seat, int);
RR_INSTANTIATE(Square8)
RR_INSTANTIATE(Square19)
RR_INSTANTIATE(Hex8)
RR_INSTANTIATE(Hexagonal)

}  // namespace rr
