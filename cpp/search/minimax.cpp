#include "minimax.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/apply.h"
#include "core/movegen.h"
#include "core/queries.h"

namespace rr {
namespace {

constexpr float kLeast = 1e-6F;   // estimates stay so far from a loss and from a win
constexpr float kSlack = 1e-5F;   // the values of a leaf sum to 1 up to this
constexpr size_t kPicks = 12;     // moves of an inner node that are put in order; the others keep the list's
constexpr int kTicks = 8;         // nodes between looks at the time and at the sign to stop
constexpr int kFirst = 1 << 30;   // scores: the table's move,
constexpr int kKiller = 1 << 24;  // moves that cut at this ply before, and then by `guess`

/// What a move is worth at first sight, for its seat.
template <class B>
int guess(const State<B>& s, Move m) {
  switch (m.type()) {
    case MoveType::Capture:
    case MoveType::ChainCapture: {
      const Cell target = B::go(m.cell(), m.dir(), m.distance());
      return s.control[s.to_move].test(target) ? -1 : 1 + s.cap[target];
    }
    case MoveType::Line:
    case MoveType::LineAll:
      return 1;
    case MoveType::Territory:
      return region_cells(s, m).count();
    case MoveType::EliminateLine:
    case MoveType::EliminateTerritory:
    case MoveType::ForcedElimination:
      return -s.cap[m.cell()];
    default:
      return 0;
  }
}

}  // namespace

template <class B, class Leaf>
Minimax<B, Leaf>::Minimax(const MinimaxSettings& settings, Leaf leaf)
    : settings_(settings),
      leaf_(std::move(leaf)),
      // Best-reply has a ply without depth for each seat that leaves the reply to a later one.
      frames_(static_cast<size_t>((settings.rule == MinimaxRule::BestReply ? 3 : 1) * settings.depth +
                                  settings.quiescence + 2)) {
  const auto most = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(settings.nodes, 1)));
  table_.resize(static_cast<size_t>(std::min<uint64_t>(most, static_cast<uint64_t>(settings.table))));
}

template <class B, class Leaf>
MinimaxOutcome Minimax<B, Leaf>::run(const State<B>& root, uint64_t seed, const Until& until) {
  until_ = until;
  me_ = root.to_move;
  nodes_ = 0;
  stop_ = false;
  std::fill(table_.begin(), table_.end(), Entry{});
  for (Frame& f : frames_) f.killers[0] = f.killers[1] = Move{};
  Frame& f = frames_[0];
  f.state = root;
  f.reply = Reply::Open;
  f.edge.clear();
  generate_playable(f.state, f.moves);
  for (size_t i = f.moves.size(); i > 1; --i)
    std::swap(f.moves[i - 1], f.moves[mix(seed + i * 0x9E3779B97F4A7C15ULL) % i]);

  MinimaxOutcome out;
  out.value = evaluate(f, false);
  order(f, Move{});
  out.move = pick(f, 0, true);
  if (f.moves.size() > 1)
    for (int depth = 1; depth <= settings_.depth && !stop_ && !out.decided; ++depth) {
      f.line.clear();
      const SeatValues value = settings_.rule == MinimaxRule::MaxN
                                   ? max_n(0, depth, settings_.quiescence, me_, -1.0F)
                                   : paranoid(0, depth, settings_.quiescence, 0.0F, 1.0F);
      if (f.line.empty()) break;
      if (!stop_) out.depth = depth;
      out.value = value;
      out.decided = !stop_ && (value[me_] == 1.0F || value[me_] == 0.0F);
      // A loss is put off: the move that a shallower search thought best loses as late as any.
      if (out.decided && value[me_] == 0.0F && !out.line.empty()) break;
      out.line = f.line;
      out.move = f.line[0];
      for (size_t i = 0; i < f.moves.size(); ++i)
        if (f.moves[i] == out.move) f.scores[i] = kFirst;
    }
  if (out.line.empty()) out.line.push_back(out.move);
  out.nodes = nodes_;
  return out;
}

/// Counts a node; stops where none is left.
template <class B, class Leaf>
void Minimax<B, Leaf>::spend() {
  if (nodes_ == settings_.nodes || (nodes_ % kTicks == 0 && nodes_ > 0 && until_.reached()))
    stop_ = true;
  else
    ++nodes_;
}

/// The value of the position of a leaf. With `finish` the seat to move ends its turn first, by `guess`.
template <class B, class Leaf>
auto Minimax<B, Leaf>::evaluate(Frame& f, bool finish) -> SeatValues {
  State<B>& s = f.state;
  const Seat seat = s.to_move;
  bool guessed = false;
  while (finish && !s.over() && s.phase >= Phase::Capture && s.to_move == seat) {
    guessed = true;
    play_on(f);
    settle(f, true);
  }
  spend();
  if (stop_) return {};
  SeatValues value{};
  if (s.over())
    value[s.winner] = 1.0F;
  else
    value = leaf_(s);
  // What was guessed proves no loss of who guessed.
  if (!s.over() || (guessed && s.winner != seat))
    for (int p = 0; p < s.seats(); ++p) {
      float& v = value[static_cast<size_t>(p)];
      v = std::clamp(v, kLeast, 1.0F - kLeast);
    }
  return value;
}

/// Plays the move that comes first by `guess`.
template <class B, class Leaf>
void Minimax<B, Leaf>::play_on(Frame& f) {
  Move best = f.moves[0];
  if (f.moves.size() > 1) {
    int most = guess(f.state, best);
    for (size_t i = 1; i < f.moves.size(); ++i)
      if (const int g = guess(f.state, f.moves[i]); g > most) {
        most = g;
        best = f.moves[i];
      }
  }
  f.edge.push_back(best);
  apply(f.state, best);
  if (f.state.phase == Phase::RingPlacement) begin_turn(f);
}

template <class B, class Leaf>
void Minimax<B, Leaf>::begin_turn(Frame& f) const {
  if (f.state.to_move == me_)
    f.reply = Reply::Open;
  else if (f.reply == Reply::Replying || f.reply == Reply::Used)
    f.reply = Reply::Used;
  else
    f.reply = Reply::Open;
}

/// Plays what leaves no choice: up to the next decision, and where the frame is a leaf, no further than to the end of
/// the turn. Best-reply: also the turns of those who may not choose.
template <class B, class Leaf>
void Minimax<B, Leaf>::settle(Frame& f, bool leaf) {
  for (;;) {
    if (f.state.over() || (f.state.phase == Phase::RingPlacement && (leaf || bystander(f)))) return;
    generate_playable(f.state, f.moves);
    const bool ordered = f.reply == Reply::Ordered || f.reply == Reply::Used;
    if (f.moves.size() > 1 && !(ordered && f.state.to_move != me_)) return;
    play_on(f);
  }
}

/// Best-reply: the root's seat has no ring left, so no round would come to its end.
template <class B, class Leaf>
bool Minimax<B, Leaf>::bystander(const Frame& f) const {
  return settings_.rule == MinimaxRule::BestReply && !f.state.has_rings(me_);
}

/// Makes the frame below `ply` by a move.
template <class B, class Leaf>
auto Minimax<B, Leaf>::child(size_t ply, Move m, int depth, Reply reply) -> Frame& {
  Frame& f = frames_[ply + 1];
  f.state = frames_[ply].state;
  f.reply = reply;
  f.edge.clear();
  f.edge.push_back(m);
  apply(f.state, m);
  if (f.state.phase == Phase::RingPlacement) begin_turn(f);
  settle(f, depth == 0);
  return f;
}

template <class B, class Leaf>
bool Minimax<B, Leaf>::is_leaf(const Frame& f, int depth, int left) const {
  const Phase phase = f.state.phase;
  if (f.state.over()) return true;
  if (depth > 0) return bystander(f);
  if (left == 0) return true;
  if (phase == Phase::Movement) return f.state.must_move == kNoCell;
  return phase != Phase::Capture && phase != Phase::ChainCapture;
}

/// The table's place for a position; null without a table.
template <class B, class Leaf>
auto Minimax<B, Leaf>::slot(const Frame& f, uint64_t& key) -> Entry* {
  if (table_.empty()) return nullptr;
  key = f.state.key() ^ mix(static_cast<uint64_t>(f.reply) + 1);
  return &table_[key & (table_.size() - 1)];
}

template <class B, class Leaf>
void Minimax<B, Leaf>::order(Frame& f, Move first) {
  f.scores.resize(f.moves.size());
  for (size_t i = 0; i < f.moves.size(); ++i) {
    const Move m = f.moves[i];
    const int killer = m == f.killers[0] || m == f.killers[1] ? kKiller : 0;
    f.scores[i] = m == first ? kFirst : killer + guess(f.state, m);
  }
}

/// The i-th move to try: the best of those from i on while that pays.
template <class B, class Leaf>
Move Minimax<B, Leaf>::pick(Frame& f, size_t i, bool all) const {
  if (all || i < kPicks) {
    const auto begin = f.scores.begin() + static_cast<std::ptrdiff_t>(i);
    const auto best = static_cast<size_t>(std::max_element(begin, f.scores.end()) - f.scores.begin());
    std::swap(f.scores[i], f.scores[best]);
    std::swap(f.moves[i], f.moves[best]);
  }
  return f.moves[i];
}

template <class B, class Leaf>
void Minimax<B, Leaf>::improve(Frame& f, const Frame& below) const {
  f.line.assign(below.edge.begin(), below.edge.end());
  f.line.insert(f.line.end(), below.line.begin(), below.line.end());
}

template <class B, class Leaf>
void Minimax<B, Leaf>::note_cut(Frame& f, Move m) const {
  if (f.killers[0] == m) return;
  f.killers[1] = f.killers[0];
  f.killers[0] = m;
}

/// The value for the root's seat, exact within (alpha, beta).
template <class B, class Leaf>
auto Minimax<B, Leaf>::paranoid(size_t ply, int depth, int left, float alpha, float beta) -> SeatValues {
  Frame& f = frames_[ply];
  f.line.clear();
  if (is_leaf(f, depth, left)) return evaluate(f, depth == 0 && settings_.quiescence > 0);
  const int16_t level = depth_code(depth, left);
  const float alpha_given = alpha, beta_given = beta;
  uint64_t key = 0;
  Entry* const entry = slot(f, key);
  Move first{};
  if (ply > 0 && entry != nullptr && entry->key == key) {
    first = Move{entry->move};
    const float v = entry->value[me_];
    const bool settled = entry->depth <= level && (v == 0.0F || v == 1.0F);
    if ((entry->depth == level || settled) &&
        (entry->bound == Bound::Exact || (entry->bound == Bound::Lower && v >= beta) ||
         (entry->bound == Bound::Upper && v <= alpha)))
      return entry->value;
  }
  if (ply > 0) order(f, first);

  const bool mine = f.state.to_move == me_;
  const int next_depth = std::max(depth - 1, 0), next_left = depth > 0 ? left : left - 1;
  SeatValues best{};
  best[me_] = mine ? -1.0F : 2.0F;
  Move best_move{};
  Reply reply = f.reply;
  if (settings_.rule == MinimaxRule::BestReply && !mine && f.reply == Reply::Open) {
    reply = Reply::Replying;
    if (others_follow(f.state)) {
      Frame& g = frames_[ply + 1];
      g.state = f.state;
      g.reply = Reply::Ordered;
      g.edge.clear();
      settle(g, false);
      best = paranoid(ply + 1, depth, left, alpha, beta);
      if (stop_) return best;
      improve(f, g);
      beta = std::min(beta, best[me_]);
    }
  }
  for (size_t i = 0; i < f.moves.size() && alpha < beta; ++i) {
    const Move m = pick(f, i, ply == 0);
    Frame& g = child(ply, m, next_depth, reply);
    const SeatValues v = paranoid(ply + 1, next_depth, next_left, alpha, beta);
    if (stop_) return best;
    if (ply == 0) f.scores[i] = static_cast<int>(v[me_] * static_cast<float>(1 << 24));
    if (mine ? v[me_] > best[me_] : v[me_] < best[me_]) {
      best = v;
      best_move = m;
      improve(f, g);
    }
    if (mine)
      alpha = std::max(alpha, best[me_]);
    else
      beta = std::min(beta, best[me_]);
    if (alpha >= beta) note_cut(f, m);
  }
  if (entry != nullptr) {
    const float v = best[me_];
    const Bound bound = v >= beta_given ? Bound::Lower : v <= alpha_given ? Bound::Upper : Bound::Exact;
    *entry = {key, best_move.bits, level, bound, best};
  }
  return best;
}

/// Best-reply: whether another seat but the root's still has its turn before the root's.
template <class B, class Leaf>
bool Minimax<B, Leaf>::others_follow(const State<B>& s) const {
  for (int p = (s.to_move + 1) % s.seats(); p != me_; p = (p + 1) % s.seats())
    if (s.has_rings(static_cast<Seat>(p))) return true;
  return false;
}

/// True where a is the better of two vectors for a seat: its own value, then the least for the root's seat, then any
/// fixed order, so that the order of the moves does not matter.
template <class B, class Leaf>
bool Minimax<B, Leaf>::better(const SeatValues& a, const SeatValues& b, Seat seat) const {
  if (a[seat] != b[seat]) return a[seat] > b[seat];
  if (a[me_] != b[me_]) return a[me_] < b[me_];
  return a > b;
}

/// The values under max^n. `above` has at least `bound` on the way here: where it cannot have more from this node, what
/// comes back is of no use to it, and not exact (shallow pruning; Korf, Multi-player alpha-beta pruning, 1991).
template <class B, class Leaf>
auto Minimax<B, Leaf>::max_n(size_t ply, int depth, int left, Seat above, float bound) -> SeatValues {
  Frame& f = frames_[ply];
  f.line.clear();
  if (is_leaf(f, depth, left)) return evaluate(f, depth == 0 && settings_.quiescence > 0);
  const int16_t level = depth_code(depth, left);
  const Seat seat = f.state.to_move;
  uint64_t key = 0;
  Entry* const entry = slot(f, key);
  Move first{};
  if (ply > 0 && entry != nullptr && entry->key == key) {
    first = Move{entry->move};
    if (entry->bound == Bound::Exact && entry->depth == level) return entry->value;
  }
  if (ply > 0) order(f, first);

  const float inherited = seat == above ? bound : -1.0F;
  SeatValues best{};
  best[seat] = -1.0F;
  Move best_move{};
  bool cut = false;
  for (size_t i = 0; i < f.moves.size() && !cut && best[seat] < 1.0F; ++i) {
    const Move m = pick(f, i, ply == 0);
    Frame& g = child(ply, m, std::max(depth - 1, 0), f.reply);
    const SeatValues v =
        max_n(ply + 1, std::max(depth - 1, 0), depth > 0 ? left : left - 1, seat, std::max(inherited, best[seat]));
    if (stop_) return best;
    if (ply == 0) f.scores[i] = static_cast<int>(v[me_] * static_cast<float>(1 << 24));
    if (better(v, best, seat)) {
      best = v;
      best_move = m;
      improve(f, g);
    }
    cut = seat != above && best[seat] + bound > 1.0F + kSlack;
    if (cut) note_cut(f, m);
  }
  if (entry != nullptr)
    *entry = {key, best_move.bits, level, !cut && best[seat] >= inherited ? Bound::Exact : Bound::None, best};
  return best;
}

#define RR_INSTANTIATE(B, ...) template class Minimax<B>;
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
