// Depth-first searches of a game of 2 to 4 seats: paranoid (alpha-beta where there are two), max^n and best-reply.
// Nodes are compared by seats, never by depth: one seat may decide several times in a row. Depth counts decisions; plies
// without a choice belong to the edge before them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/heuristic.h"
#include "until.h"

namespace rr {

enum class MinimaxRule : uint8_t {
  Paranoid,   ///< all others play against the root's seat (Sturtevant and Korf, On pruning techniques for multi-player
              ///< games, AAAI 2000); with two seats this is alpha-beta
  MaxN,       ///< each seat maximises its own value (Luckhardt and Irani, AAAI 1986); equal ones at the root's expense
  BestReply,  ///< one of the others may choose freely between two turns of the root's seat, the others play the move
              ///< that comes first by `guess` (BRS+: Esser, Gras, Winands, Schadd and Lanctot, Improving Best-Reply
              ///< Search, CG 2013)
};

struct MinimaxSettings {
  MinimaxRule rule = MinimaxRule::Paranoid;
  int64_t nodes = 20000;  ///< positions evaluated and ends of the game visited; at least 1, which is the root's own
  int depth = 32;         ///< decisions
  int quiescence = 4;     ///< at the limit, further decisions of a stack that was placed or captured; then `guess`
                          ///< ends the turn; 0: the position as it stands
  int table = 1 << 14;    ///< entries of the transposition table, a power of two; 0: none
};

struct MinimaxOutcome {
  Move move{};
  std::array<float, kMaxSeats> value{};  ///< by absolute seat
  int depth = 0;                         ///< the last depth that was searched to its end
  int64_t nodes = 0;
  std::vector<Move> line;  ///< best play from the root, plies without a choice included
  bool decided = false;    ///< the root's seat wins or loses whatever the others do
};

/// What the searches ask of a position that is not over: the probabilities of winning by absolute seat.
template <class B>
struct HeuristicLeaf {
  std::array<float, kMaxSeats> operator()(const State<B>& s) const { return heuristic_values(s); }
};

/// One search after the other; nothing is carried over. A win or a loss is 1 or 0, an estimate lies strictly between.
template <class B, class Leaf = HeuristicLeaf<B>>
class Minimax {
 public:
  using SeatValues = std::array<float, kMaxSeats>;

  explicit Minimax(const MinimaxSettings& settings, Leaf leaf = {});

  /// Deepens until the settings' depth or the nodes are used up, `until`, or the position is decided. The position must
  /// not be over. `seed` draws the order of the root's moves, and by that among equal ones.
  MinimaxOutcome run(const State<B>& root, uint64_t seed, const Until& until = {});

 private:
  /// Best-reply: what the seat to move may do in this turn if it is not the root's.
  enum class Reply : uint8_t { Open, Replying, Ordered, Used };

  /// A position on the way from the root. Frames are made once and keep their memory.
  struct Frame {
    State<B> state;
    std::vector<Move> moves;  ///< playable; empty where a leaf needs none
    std::vector<int> scores;
    std::vector<Move> edge;  ///< the plies that lead here from the frame above
    std::vector<Move> line;  ///< best play from here
    Move killers[2];
    Reply reply;
  };
  enum class Bound : uint8_t { None, Exact, Lower, Upper };
  struct Entry {
    uint64_t key;
    uint32_t move;
    int16_t depth;  ///< see depth_code
    Bound bound;
    SeatValues value;
  };

  SeatValues paranoid(size_t ply, int depth, int left, float alpha, float beta);
  SeatValues max_n(size_t ply, int depth, int left, Seat above, float bound);
  SeatValues evaluate(Frame& f, bool finish);
  bool is_leaf(const Frame& f, int depth, int left) const;
  Frame& child(size_t ply, Move m, int depth, Reply reply);
  void settle(Frame& f, bool leaf);
  void play_on(Frame& f);
  void begin_turn(Frame& f) const;
  bool bystander(const Frame& f) const;
  bool others_follow(const State<B>& s) const;
  void order(Frame& f, Move first);
  Move pick(Frame& f, size_t i, bool all) const;
  void improve(Frame& f, const Frame& below) const;
  void note_cut(Frame& f, Move m) const;
  bool better(const SeatValues& a, const SeatValues& b, Seat p) const;
  void spend();
  Entry* slot(const Frame& f, uint64_t& key);

  /// Of an entry: decisions, or below zero the quiescence left.
  static int16_t depth_code(int depth, int left) { return static_cast<int16_t>(depth > 0 ? depth : left - 1000); }

  MinimaxSettings settings_;
  Leaf leaf_;
  Seat me_ = 0;  ///< the root's seat
  int64_t nodes_ = 0;
  bool stop_ = false;
  Until until_;
  std::vector<Frame> frames_;
  std::vector<Entry> table_;
};

#define RR_DECLARE(B, ...) extern template class Minimax<B>;
RR_BOARDS(RR_DECLARE)
#undef RR_DECLARE

}  // namespace rr
