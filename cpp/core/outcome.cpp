#include "outcome.h"

#include "queries.h"

namespace rr {
namespace {

template <class B>
void finish(State<B>& s, Seat winner, Reason reason, Detail detail) {
  s.phase = Phase::GameOver;
  s.must_move = s.active = kNoCell;
  s.owes_line = s.owes_territory = s.real_action = s.recovery_turn = false;
  s.to_move = 0;
  s.winner = winner;
  s.reason = reason;
  s.detail = detail;
}

/// The only seat with the highest of some numbers, if that is above zero; else kNoSeat.
template <class F>
Seat unique_highest(int seats, F&& number) {
  Seat best = kNoSeat;
  int most = 0;
  for (Seat s = 0; s < seats; ++s) {
    const int n = number(s);
    if (n > most) {
      most = n;
      best = s;
    } else if (n == most) {
      best = kNoSeat;
    }
  }
  return best;
}

/// Rules section 11.5, for a board without stacks.
template <class B>
bool bare_board_is_over(State<B>& s) {
  const int n = s.seats();
  int hands = 0;
  for (int i = 0; i < n; ++i) hands += s.hand[i];
  if (hands > 0) {
    const auto open = open_cells(s);
    if ((open.andnot(s.marker_bits()) & step_masks<B, 1>(open)[0]).any()) return false;
  }
  Seat winner = unique_highest(n, [&](Seat p) { return int{s.collapsed[p]}; });
  if (winner != kNoSeat) {
    finish(s, winner, Reason::TerritoryControl, Detail::StalemateTerritory);
    return true;
  }
  winner = unique_highest(n, [&](Seat p) { return s.eliminated[p] + s.hand[p]; });
  if (winner != kNoSeat) {
    finish(s, winner, Reason::RingElimination, Detail::StalemateEliminated);
    return true;
  }
  winner = unique_highest(n, [&](Seat p) { return int{s.markers[p]}; });
  if (winner == kNoSeat)  // the seat of the previous ply
    winner = s.no_history ? static_cast<Seat>((s.to_move + n - 1) % n) : s.to_move;
  finish(s, winner, Reason::LastPlayerStanding, Detail::StalemateMarkersOrLastActor);
  return true;
}

/// Rules section 11.
template <class B>
bool is_decided(State<B>& s) {
  const int n = s.seats();
  for (Seat p = 0; p < n; ++p)
    if (s.eliminated[p] >= s.rules.victory_threshold) {
      finish(s, p, Reason::RingElimination, Detail::Threshold);
      return true;
    }
  int territory = 0;
  for (int p = 0; p < n; ++p) territory += s.collapsed[p];
  for (Seat p = 0; p < n; ++p)
    if (s.collapsed[p] >= s.rules.territory_minimum && 2 * s.collapsed[p] > territory) {
      finish(s, p, Reason::TerritoryControl, Detail::Threshold);
      return true;
    }
  int controlling = 0, with_rings = 0;
  Seat sole = kNoSeat;
  for (Seat p = 0; p < n; ++p) {
    if (s.stacks[p] > 0) {
      ++controlling;
      sole = p;
    }
    with_rings += s.has_rings(p);
  }
  if (controlling == 1 && with_rings == 1) {
    finish(s, sole, Reason::LastPlayerStanding, Detail::SoleMaterial);
    return true;
  }
  return controlling == 0 && bare_board_is_over(s);
}

/// Rules section 12, at the start of the turn of s.to_move. Ends the game when its seat has stood alone long enough.
template <class B>
void track_last_player(State<B>& s) {
  LpsTracker& t = s.lps;
  const Seat p = s.to_move;
  if (!s.has_rings(p)) return;
  const auto alive = [&](Seat q) { return q != kNoSeat && s.has_rings(q); };
  if (!alive(t.first)) {
    ++t.round;
    t.first = p;
    t.seen = t.real = 0;
    if (!alive(t.exclusive)) {
      t.exclusive = kNoSeat;
      t.count = 0;
    }
  } else if (p == t.first && t.seen != 0) {
    Seat only = kNoSeat;
    int acted = 0;
    for (Seat q = 0; q < s.seats(); ++q)
      if (s.has_rings(q) && (t.real >> q & 1) != 0) {
        ++acted;
        only = q;
      }
    if (acted == 1) {
      t.count = only == t.exclusive ? static_cast<uint8_t>(t.count + 1) : uint8_t{1};
      t.exclusive = only;
    } else {
      t.exclusive = kNoSeat;
      t.count = 0;
    }
    ++t.round;
    t.seen = t.real = 0;
    t.first = p;
  }
  const bool real = has_real_action(s, p);
  t.seen = static_cast<uint8_t>(t.seen | 1 << p);
  t.real = static_cast<uint8_t>((t.real & ~(1 << p)) | (real ? 1 << p : 0));
  if (t.count < s.rules.lps_rounds || t.exclusive != p || !real) return;
  for (Seat q = 0; q < s.seats(); ++q)
    if (q != p && s.has_rings(q) && has_real_action(s, q)) return;
  finish(s, p, Reason::LpsRounds, Detail::LpsRounds);
}

/// Numbers the seats that have just lost their last ring.
template <class B>
void note_departures(State<B>& s) {
  uint8_t last = 0;
  for (int p = 0; p < s.seats(); ++p) last = std::max(last, s.out[p]);
  for (Seat p = 0; p < s.seats(); ++p)
    if (s.out[p] == 0 && !s.has_rings(p)) s.out[p] = static_cast<uint8_t>(last + 1);
}

}  // namespace

template <class B>
void end_turn(State<B>& s) {
  note_departures(s);
  if (is_decided(s)) return;
  const Seat mover = s.to_move;
  const int n = s.seats();
  do s.to_move = static_cast<Seat>((s.to_move + 1) % n);
  while (!s.has_rings(s.to_move) && s.to_move != mover);
  s.phase = Phase::RingPlacement;
  s.must_move = s.active = kNoCell;
  s.owes_line = s.owes_territory = false;
  if (s.to_move != mover) s.real_action = s.recovery_turn = false;
  track_last_player(s);
}

template <class B>
std::array<uint8_t, kMaxSeats> ranks(const State<B>& s) {
  const bool ladder = s.detail == Detail::StalemateTerritory || s.detail == Detail::StalemateEliminated ||
                      s.detail == Detail::StalemateMarkersOrLastActor;
  const auto order = [&](Seat p) {
    return std::array<int, 5>{p == s.winner, s.collapsed[p], s.eliminated[p] + (ladder ? s.hand[p] : 0), s.markers[p],
                              s.out[p] == 0 ? 256 : s.out[p]};
  };
  std::array<uint8_t, kMaxSeats> out{};
  for (Seat p = 0; p < s.seats(); ++p) {
    int better = 0;
    for (Seat q = 0; q < s.seats(); ++q) better += order(q) > order(p);
    out[p] = static_cast<uint8_t>(1 + better);
  }
  return out;
}

std::string_view reason_name(Reason reason) {
  constexpr std::string_view names[] = {"", "ring_elimination", "territory_control", "last_player_standing",
                                        "lps_rounds"};
  return names[static_cast<int>(reason)];
}

std::string_view detail_name(Detail detail) {
  constexpr std::string_view names[] = {"",
                                        "threshold",
                                        "sole_material",
                                        "stalemate_territory",
                                        "stalemate_eliminated",
                                        "stalemate_markers_or_last_actor",
                                        "lps_rounds"};
  return names[static_cast<int>(detail)];
}

#define RR_INSTANTIATE(B, ...)       \
  template void end_turn(State<B>&); \
  template std::array<uint8_t, kMaxSeats> ranks(const State<B>&);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
