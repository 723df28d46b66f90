#include "heuristic.h"

#include <cmath>

#include "apply.h"
#include "movegen.h"
#include "queries.h"

namespace rr {

// Weights of small boards for 2 and 4 seats: `tools/fit_heuristic.py --games 1000 --large-games 20 --seed 1`, on games
// that the weights before them played; run again it plays with these and comes out a little different. The others: the
// same regression on 13,500 games on square8 and hex8 with more random moves; newer fits lost to them on large boards,
// and with 3 seats won less often against random play (docs/heuristic.md).
constexpr std::array<HeuristicRow, kFeatures> kHeuristicTable = {{
    {"eliminated",
     "eliminated rings as a share of the victory threshold",
     {{0.45F, 0.58F, -0.40F}, {1.01F, 0.58F, -0.54F}}},
    {"eliminated_squared", "its square: the last rings count most", {{0.33F, 0.15F, -0.05F}, {1.98F, 0.15F, 0.02F}}},
    {"territory", "territory as a share of the territory minimum", {{0.45F, 0.84F, -0.09F}, {0.98F, 0.84F, 1.07F}}},
    {"territory_squared", "its square", {{0.10F, 0.27F, 0.22F}, {-0.71F, 0.27F, 0.52F}}},
    {"stacks",
     "controlled stacks as a share of an eighth of the cells",
     {{0.29F, 1.07F, 0.07F}, {1.07F, 1.07F, -0.23F}}},
    {"caps",
     "rings in the caps of controlled stacks as a share of the seat's rings",
     {{-0.23F, -0.35F, 0.34F}, {0.63F, -0.35F, -0.47F}}},
    {"heights",
     "rings in controlled stacks as a share of the seat's rings",
     {{-0.25F, 0.71F, 0.40F}, {0.32F, 0.71F, 1.03F}}},
    {"hand", "rings in hand as a share of the seat's rings", {{0.68F, 2.21F, 0.10F}, {3.33F, 2.21F, 1.32F}}},
    {"captive",
     "own rings in stacks of others as a share of the seat's rings",
     {{-0.14F, 1.23F, 0.17F}, {0.61F, 1.23F, 0.84F}}},
    {"markers", "own markers as a share of a quarter of the cells", {{1.04F, 1.07F, 1.10F}, {0.76F, 1.07F, 1.00F}}},
    {"pairs",
     "neighbouring own markers, in pairs, as a share of a quarter of the cells",
     {{0.44F, -0.72F, -0.20F}, {-0.28F, -0.72F, 0.68F}}},
    {"threes",
     "three own markers in a row as a share of an eighth of the cells",
     {{-0.00F, -0.06F, -0.12F}, {-0.66F, -0.06F, -0.96F}}},
    {"mobility",
     "share of the directions in which controlled stacks can move, times stacks",
     {{0.18F, -1.53F, -0.04F}, {-0.12F, -1.53F, -1.34F}}},
    {"blocked",
     "controlled stacks that cannot move as a share of an eighth of the cells",
     {{0.02F, -0.16F, -0.36F}, {-0.80F, -0.16F, -0.14F}}},
    {"overtake",
     "captures of other seats' stacks, by direction, as a share of an eighth of the cells",
     {{-0.08F, -0.16F, 0.07F}, {0.16F, -0.16F, 0.38F}}},
    {"vulnerable",
     "captures of own stacks by other seats, likewise",
     {{0.08F, -0.48F, 0.12F}, {-0.16F, -0.48F, -0.27F}}},
    {"centre",
     "controlled stacks in the middle of the board, likewise",
     {{0.19F, 0.58F, -0.15F}, {0.50F, 0.58F, 0.14F}}},
    {"no_stacks", "1 where the seat controls no stack", {{-0.12F, -0.01F, -0.46F}, {-0.08F, -0.01F, -0.05F}}},
    {"single_stack", "1 where it controls one", {{-0.03F, 0.04F, -0.20F}, {0.01F, 0.04F, -0.03F}}},
    {"out", "1 where it has no ring left", {{0.00F, -2.11F, -0.38F}, {-3.16F, -2.11F, -1.14F}}},
    {"claim_now",
     "largest share of a victory in one region that the seat to move can hope for",
     {{0.12F, 2.15F, 0.27F}, {1.02F, 2.15F, 1.88F}}},
    {"claim_wins_now", "1 where that region would win", {{0.10F, -0.31F, 0.27F}, {-0.37F, -0.31F, -1.34F}}},
    {"claim_later", "the same for a seat that waits", {{-0.12F, -0.49F, -0.23F}, {-1.13F, -0.49F, -0.99F}}},
    {"claim_wins_later", "1 where that region would win", {{-0.08F, 1.09F, -0.20F}, {0.57F, 1.09F, 0.23F}}},
    {"line_ready",
     "cells of own stacks where an own marker would complete a line, as a share of an eighth "
     "of the cells",
     {{0.11F, 0.00F, 0.13F}, {0.00F, 0.00F, 0.00F}}},
    {"line_gap", "open cells of that kind, likewise", {{-0.08F, 0.00F, -0.41F}, {0.00F, 0.00F, 0.00F}}},
    {"beside",
     "controlled stacks with another one next to them, likewise",
     {{-0.09F, 0.00F, -0.33F}, {0.00F, 0.00F, 0.00F}}},
    {"frontier",
     "empty cells next to controlled stacks as a share of a quarter of the cells",
     {{-0.29F, 0.00F, -0.92F}, {0.00F, 0.00F, 0.00F}}},
    {"chains",
     "controlled stacks with two captures or more, likewise",
     {{0.01F, 0.00F, -0.03F}, {0.00F, 0.00F, 0.00F}}},
    {"overtake_now",
     "captures of other seats' stacks by the seat to move, likewise",
     {{-0.06F, 0.00F, 0.11F}, {0.00F, 0.00F, 0.00F}}},
    {"fragile",
     "captures of own stacks that would then change hands or vanish, likewise",
     {{0.21F, 0.00F, -0.00F}, {0.00F, 0.00F, 0.00F}}},
    {"tempo", "1 for the seat to move", {{0.19F, 0.00F, 0.37F}, {0.00F, 0.00F, 0.00F}}},
    {"stuck",
     "1 where it has stacks, none can move, and no ring is in hand: a forced "
     "elimination",
     {{-0.13F, 0.00F, -0.11F}, {0.00F, 0.00F, 0.00F}}},
    {"recovery", "1 where it may recover (rules section 8)", {{0.24F, 0.00F, 0.19F}, {0.00F, 0.00F, 0.00F}}},
    {"alone", "1 where it can act and no other seat can", {{0.00F, 0.00F, 0.62F}, {0.00F, 0.00F, 0.00F}}},
    {"rounds",
     "complete rounds in which it alone could act as a share of those that win",
     {{-0.03F, 0.00F, 0.25F}, {0.00F, 0.00F, 0.00F}}},
    {"road",
     "cube of the larger of its shares of eliminated rings and territory",
     {{0.35F, 0.00F, 0.77F}, {0.00F, 0.00F, 0.00F}}},
    {"rival",
     "largest such share of another seat, with three seats and more",
     {{0.00F, 0.00F, 0.52F}, {0.00F, 0.00F, 0.00F}}},
}};

namespace {

/// The weights of one size of board and seat count side by side.
constexpr auto kWeights = [] {
  std::array<std::array<std::array<float, kFeatures>, kMaxSeats - 1>, 2> out{};
  for (size_t f = 0; f < kFeatures; ++f)
    for (size_t size = 0; size < 2; ++size)
      for (size_t n = 0; n < kMaxSeats - 1; ++n) out[size][n][f] = kHeuristicTable[f].weight[size][n];
  return out;
}();

/// 1 for cells at most half way from the centre to the edge, by slot.
template <class B>
constexpr std::array<uint8_t, B::kSlots> kCentre = [] {
  std::array<uint8_t, B::kSlots> inside{};
  for (int i = 0; i < B::kSlots; ++i) {
    const Cell c = B::from_slot(i);
    const int x = B::x(c), y = B::y(c), z = x + y;
    constexpr int kEdge = B::kWidth - 1;
    bool in;
    if constexpr (B::kHex)
      in = 2 * std::max({x, -x, y, -y, z, -z}) <= B::kRadius;
    else
      in = 4 * x >= kEdge && 4 * x <= 3 * kEdge && 4 * y >= kEdge && 4 * y <= 3 * kEdge;
    inside[static_cast<size_t>(i)] = in;
  }
  return inside;
}();

/// What each seat's stacks can do; counts.
struct Activity {
  int moves[kMaxSeats] = {};       ///< directions with a plain move
  int blocked[kMaxSeats] = {};     ///< stacks without plain move or capture
  int overtakes[kMaxSeats] = {};   ///< directions with a capture of another seat's stack
  int vulnerable[kMaxSeats] = {};  ///< such captures of this seat's stacks
  int caps[kMaxSeats] = {};
  int heights[kMaxSeats] = {};
  int captive[kMaxSeats] = {};  ///< rings in stacks of other seats
  int centre[kMaxSeats] = {};   ///< stacks in the middle of the board
  int chains[kMaxSeats] = {};   ///< stacks with two captures or more
  int fragile[kMaxSeats] = {};  ///< captures of this seat's stacks with a cap of one ring
};

template <class B>
Activity activity(const State<B>& s) {
  using Ops = typename State<B>::Ops;
  Activity out;
  int own[kMaxSeats] = {};  // rings of a seat in its own stacks
  for (Seat seat = 0; seat < s.seats(); ++seat)
    s.control[seat].for_each([&](Cell c) {
      const auto stack = s.stack_at(c);
      const int height = Ops::height(stack), cap = s.cap[c];
      int moves = 0, captures = 0;
      unroll<B::kDirs>([&]<int D>() {
        const int before = s.template run<D>(c);
        moves += before >= height;
        const Cell target = B::go(c, D, before + 1);
        if (s.cap[target] > cap) return;
        const int behind = s.template run<D>(target);
        if (behind == 0 || before + 1 + behind < height) return;
        ++captures;
        const Seat owner = Ops::top(s.stack_at(target));
        if (owner == seat) return;
        ++out.overtakes[seat];
        ++out.vulnerable[owner];
        out.fragile[owner] += s.cap[target] == 1;
      });
      out.moves[seat] += moves;
      out.blocked[seat] += moves + captures == 0;
      out.chains[seat] += captures > 1;
      out.caps[seat] += cap;
      out.centre[seat] += kCentre<B>[static_cast<size_t>(B::slot(c))];
      out.heights[seat] += height;
      own[seat] += cap;
      for (int i = cap; i < height; ++i) own[seat] += Ops::ring(stack, i) == seat;
    });
  for (int seat = 0; seat < s.seats(); ++seat) out.captive[seat] = s.rings_on_board[seat] - own[seat];
  return out;
}

/// The best region that each seat could process if it were to move: a component of the board, walled by one seat's
/// markers or by territory alone, from which a colour is missing and outside of which the seat has a stack or can
/// place one (rules section 9).
struct Claims {
  float share[kMaxSeats] = {};  ///< of a victory, by rings or by cells, whichever is more; at most 1
  bool wins[kMaxSeats] = {};
};

template <class B>
Claims claims(const State<B>& s) {
  using Bits = typename B::Bits;
  using Ops = typename State<B>::Ops;
  Claims out;
  const int n = s.seats();
  const Bits stacks = s.stack_bits();
  for (int k = 0; k <= n; ++k) {
    const Seat border = k < n ? static_cast<Seat>(k) : kNoSeat;
    if (border != kNoSeat && s.markers[border] == 0) continue;
    const Bits mask = region_mask(s, border);
    for (Bits rest = mask; rest.any();) {
      Bits seed{};
      seed.set(rest.lowest());
      const Bits cells = flood<B>(seed, mask);
      if (cells == mask) break;  // nobody could pay from outside
      rest = rest.andnot(cells);
      int colours = 0, rings = 0;
      for (Seat c = 0; c < n; ++c) colours += (s.control[c] & cells).any();
      if (border == kNoSeat && colours != 1) continue;
      (stacks & cells).for_each([&](Cell c) { rings += Ops::height(s.stack_at(c)); });
      const int size = cells.count();
      for (Seat p = 0; p < n; ++p) {
        int active = 0;
        for (Seat c = 0; c < n; ++c) active += s.rings_on_board[c] > 0 || (c == p && s.hand[p] > 0);
        if (colours >= active) continue;
        if (s.hand[p] == 0 && !s.control[p].andnot(cells).any()) continue;
        const float share = std::max(static_cast<float>(rings) / s.rules.victory_threshold,
                                     static_cast<float>(size) / s.rules.territory_minimum);
        out.share[p] = std::max(out.share[p], std::min(1.0F, share));
        out.wins[p] = out.wins[p] || s.eliminated[p] + rings >= s.rules.victory_threshold ||
                      s.collapsed[p] + size >= s.rules.territory_minimum;
      }
    }
  }
  return out;
}

template <class B>
void features_of(const State<B>& s, const Activity& a, const Claims& claim, Seat p, float* out) {
  constexpr int kCells = kBoardInfo[static_cast<int>(B::kId)].cells;
  const auto set = [&](Feature f, float value) { out[static_cast<int>(f)] = value; };
  const auto share = [](int part, int whole) { return static_cast<float>(part) / static_cast<float>(whole); };
  const Rules& r = s.rules;
  const float eliminated = share(s.eliminated[p], r.victory_threshold);
  const float territory = share(s.collapsed[p], r.territory_minimum);
  set(Feature::Eliminated, eliminated);
  set(Feature::EliminatedSquared, eliminated * eliminated);
  set(Feature::Territory, territory);
  set(Feature::TerritorySquared, territory * territory);
  set(Feature::Stacks, share(8 * s.stacks[p], kCells));
  set(Feature::Caps, share(a.caps[p], r.rings));
  set(Feature::Heights, share(a.heights[p], r.rings));
  set(Feature::Hand, share(s.hand[p], r.rings));
  set(Feature::Captive, share(a.captive[p], r.rings));
  set(Feature::Markers, share(4 * s.markers[p], kCells));
  using Bits = typename B::Bits;
  const auto &own = s.marker[p], &stacks = s.control[p];
  int pairs = 0, threes = 0;
  Bits points{}, beside{};  // cells where one more own marker makes a line; cells next to own stacks
  unroll<B::kAxes>([&]<int A>() {
    constexpr int dx = B::step(A).dx, dy = B::step(A).dy;
    beside |= stacks.template shifted<dx, dy>() | stacks.template shifted<-dx, -dy>();
    if (s.markers[p] < 2) return;
    const Bits back = own.template shifted<dx, dy>(), ahead = own.template shifted<-dx, -dy>();
    const Bits back2 = back & back.template shifted<dx, dy>(), ahead2 = ahead & ahead.template shifted<-dx, -dy>();
    pairs += (own & back).count();
    threes += (own & back2).count();
    if (r.line_length == 3)
      points |= back2 | ahead2 | (back & ahead);
    else
      points |= (back2 & (ahead | back2.template shifted<dx, dy>())) |
                (ahead2 & (back | ahead2.template shifted<-dx, -dy>()));
  });
  const Bits open = open_cells(s).andnot(own);
  set(Feature::Pairs, share(4 * pairs, kCells));
  set(Feature::Threes, share(8 * threes, kCells));
  set(Feature::Mobility, share(8 * a.moves[p], kCells * B::kDirs));
  set(Feature::Blocked, share(8 * a.blocked[p], kCells));
  set(Feature::Overtake, share(8 * a.overtakes[p], kCells));
  set(Feature::Vulnerable, share(8 * a.vulnerable[p], kCells));
  set(Feature::Centre, share(8 * a.centre[p], kCells));
  set(Feature::NoStacks, s.stacks[p] == 0);
  set(Feature::SingleStack, s.stacks[p] == 1);
  set(Feature::Out, !s.has_rings(p));
  const bool now = p == s.to_move;
  set(Feature::ClaimNow, now ? claim.share[p] : 0.0F);
  set(Feature::ClaimWinsNow, now && claim.wins[p]);
  set(Feature::ClaimLater, now ? 0.0F : claim.share[p]);
  set(Feature::ClaimWinsLater, !now && claim.wins[p]);
  set(Feature::LineReady, share(8 * (points & stacks).count(), kCells));
  set(Feature::LineGap, share(8 * (points & open).count(), kCells));
  set(Feature::Beside, share(8 * (beside & stacks).count(), kCells));
  set(Feature::Frontier, share(4 * (beside & open).count(), kCells));
  set(Feature::Chains, share(8 * a.chains[p], kCells));
  set(Feature::OvertakeNow, now ? share(8 * a.overtakes[p], kCells) : 0.0F);
  set(Feature::Fragile, share(8 * a.fragile[p], kCells));
  set(Feature::Tempo, now);
  const auto acts = [&](Seat q) { return s.hand[q] > 0 || a.blocked[q] < s.stacks[q]; };
  bool others = false;
  float rival = 0.0F;
  for (Seat q = 0; q < s.seats(); ++q)
    if (q != p) {
      others = others || acts(q);
      rival =
          std::max({rival, share(s.eliminated[q], r.victory_threshold), share(s.collapsed[q], r.territory_minimum)});
    }
  set(Feature::Stuck, s.stacks[p] > 0 && !acts(p));
  set(Feature::Recovery, s.may_recover(p));
  set(Feature::Alone, acts(p) && !others);
  set(Feature::Rounds, s.lps.exclusive == p ? share(s.lps.count, r.lps_rounds) : 0.0F);
  const float road = std::max(eliminated, territory);
  set(Feature::Road, road * road * road);
  set(Feature::Rival, r.seats > 2 ? rival : 0.0F);
}

template <class B>
std::array<float, kMaxSeats> scores(const State<B>& s) {
  const Activity a = activity(s);
  const Claims claim = claims(s);
  const auto& weights = kWeights[B::kWidth > 9][static_cast<size_t>(s.seats() - 2)];
  std::array<float, kMaxSeats> out{};
  float features[kFeatures];
  for (Seat p = 0; p < s.seats(); ++p) {
    features_of(s, a, claim, p, features);
    for (size_t f = 0; f < kFeatures; ++f) out[p] += weights[f] * features[f];
  }
  return out;
}

template <class B>
struct Greedy {
  const Seat me;
  int budget;                  ///< positions that may still be looked at
  std::vector<Move> lists[8];  ///< playable lists by depth

  /// The mover's value of s, which is the seat's own decision or somebody else's turn.
  float value(const State<B>& s) const { return heuristic_values(s)[me]; }

  /// The cell of the first elimination in the list with the lowest cap.
  static Move cheapest(const State<B>& s, const std::vector<Move>& moves) {
    return *std::min_element(moves.begin(), moves.end(),
                             [&](Move a, Move b) { return s.cap[a.cell()] < s.cap[b.cell()]; });
  }

  /// Plays on to the end of the turn by simple rules: no further captures, lines and the largest regions are taken,
  /// the smallest caps pay. `moves` is the playable list of s.
  void finish_turn(State<B>& s, std::vector<Move>& moves) const {
    for (;; generate_playable(s, moves)) {
      if (s.over() || s.to_move != me || s.phase == Phase::RingPlacement) return;
      switch (s.phase) {
        case Phase::Capture:
          apply(s, moves.back());
          break;
        case Phase::LineProcessing:
        case Phase::ChainCapture:
          apply(s, moves.front());
          break;
        case Phase::TerritoryProcessing:
          if (s.owes_territory) {
            apply(s, cheapest(s, moves));
          } else {
            int most = -1;
            Move best = moves.front();
            for (const Move m : moves) {
              const int cells = m.type() == MoveType::Territory ? region_cells(s, m).count() : 0;
              if (cells > most) {
                most = cells;
                best = m;
              }
            }
            apply(s, best);
          }
          break;
        case Phase::ForcedElimination:
          apply(s, cheapest(s, moves));
          break;
        default:
          return;
      }
    }
  }

  /// The best value the seat reaches within its turn, looking at most `depth` decisions ahead.
  float best(State<B>& s, int depth) {
    std::vector<Move>& moves = lists[depth];
    for (;;) {
      if (s.over() || s.to_move != me || s.phase == Phase::RingPlacement) return value(s);
      generate_playable(s, moves);
      if (moves.size() > 1) break;
      apply(s, moves[0]);
    }
    if (depth == 0 || static_cast<int>(moves.size()) > budget) {
      finish_turn(s, moves);
      return value(s);
    }
    budget -= static_cast<int>(moves.size());
    float most = -1.0F;
    for (const Move m : moves) {
      State<B> next = s;
      apply(next, m);
      most = std::max(most, best(next, depth - 1));
    }
    return most;
  }
};

}  // namespace

template <class B>
void heuristic_features(const State<B>& s, Seat seat, float* out) {
  features_of(s, activity(s), claims(s), seat, out);
}

template <class B>
std::array<float, kMaxSeats> heuristic_values(const State<B>& s) {
  std::array<float, kMaxSeats> out{};
  if (s.over()) {
    out[s.winner] = 1.0F;
    return out;
  }
  out = scores(s);
  const float most = *std::max_element(out.begin(), out.begin() + s.seats());
  float sum = 0.0F;
  for (int p = 0; p < s.seats(); ++p) {
    const auto i = static_cast<size_t>(p);
    out[i] = std::exp(out[i] - most);
    sum += out[i];
  }
  for (float& v : out) v /= sum;
  for (size_t p = static_cast<size_t>(s.seats()); p < kMaxSeats; ++p) out[p] = 0.0F;
  return out;
}

template <class B>
int greedy_move(const State<B>& s, const std::vector<Move>& moves, uint64_t seed) {
  constexpr int kBudget = 4096;  // positions looked at below all moves together
  constexpr int kDepth = 1;
  Greedy<B> greedy{s.to_move, 0, {}};
  int choice = 0;
  float most = -1.0F;
  uint64_t best_lot = 0;
  int swap = -1;
  for (size_t i = 0; i < moves.size(); ++i) {
    if (moves[i].type() == MoveType::Swap) {
      swap = static_cast<int>(i);
      continue;
    }
    State<B> next = s;
    apply(next, moves[i]);
    greedy.budget = kBudget / static_cast<int>(moves.size());
    const float v = greedy.best(next, kDepth);
    const uint64_t lot = mix(seed + i * 0x9E3779B97F4A7C15ULL);
    if (v > most || (v == most && lot > best_lot)) {
      most = v;
      best_lot = lot;
      choice = static_cast<int>(i);
    }
  }
  return swap >= 0 && most < 0.5F ? swap : choice;
}

#define RR_INSTANTIATE(B, ...)                                             \
  template void heuristic_features(const State<B>&, Seat, float*);         \
  template std::array<float, kMaxSeats> heuristic_values(const State<B>&); \
  template int greedy_move(const State<B>&, const std::vector<Move>&, uint64_t);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
