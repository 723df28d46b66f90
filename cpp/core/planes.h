// What a network sees of a position: feature planes over the box of the board and global numbers. Seats are rotated so
// that the seat to move comes first; seats that do not play are zero. The tables are the documentation and the writer's
// layout at once; the same planes and globals serve all boards and seat counts.
#pragma once

#include <array>
#include <bit>
#include <string>
#include <string_view>

#include "state.h"

namespace rr {

/// Raised whenever the meaning of a plane, a global or a policy address changes; part of the encoding hash.
inline constexpr int kEncodingVersion = 1;

/// A row of a table: `count` planes or globals in a row, four where there is one for each seat.
struct FeatureRow {
  std::string_view name;
  std::string_view meaning;
  int count;
  float scale;  ///< what a network multiplies the stored number with, to bring it near 0 .. 1
};

inline constexpr FeatureRow kPlaneTable[] = {
    {"board", "1 on every cell of the board", 1, 1.0F},
    {"hexagon", "1 on every cell of a hexagonal board", 1, 1.0F},
    {"top", "1 where the seat controls a stack", kMaxSeats, 1.0F},
    {"cap", "cap height of the stack that the seat controls", kMaxSeats, 0.25F},
    {"height", "height of the stack that the seat controls", kMaxSeats, 0.25F},
    {"below", "length of the run of the seat's rings just below the cap, where those are the seat's", kMaxSeats, 0.25F},
    {"buried", "the seat's rings below the cap", kMaxSeats, 0.25F},
    {"marker", "1 where the seat has a marker", kMaxSeats, 1.0F},
    {"territory", "1 where the seat owns a collapsed cell", kMaxSeats, 1.0F},
    {"must_move", "1 on the stack that must move", 1, 1.0F},
    {"active", "1 on the stack that may or must go on capturing", 1, 1.0F},
};

inline constexpr FeatureRow kGlobalTable[] = {
    {"phase", "the phase, one-hot, in the order of the turn", 7, 1.0F},
    {"seats", "2, 3 or 4 seats, one-hot", 3, 1.0F},
    {"hand", "rings in hand as a share of the seat's rings", kMaxSeats, 1.0F},
    {"on_board", "rings on the board as a share of the seat's rings", kMaxSeats, 1.0F},
    {"eliminated", "eliminated rings as a share of the victory threshold", kMaxSeats, 1.0F},
    {"territory", "territory as a share of the territory minimum", kMaxSeats, 1.0F},
    {"stacks", "controlled stacks as a share of an eighth of the cells", kMaxSeats, 1.0F},
    {"alive", "1 where the seat has a ring in hand or on the board", kMaxSeats, 1.0F},
    {"line_length", "1 where a line needs four markers, 0 where three", 1, 1.0F},
    {"line_notice", "1 where the line phase overlooks a run that is just long enough", 1, 1.0F},
    {"cells", "cells of the board as a share of 469", 1, 1.0F},
    {"rings", "rings per seat as a share of 96", 1, 1.0F},
    {"owes_line", "an elimination is owed for a line", 1, 1.0F},
    {"owes_territory", "an elimination is owed for a region", 1, 1.0F},
    {"real_action", "the seat to move has done a real action this turn", 1, 1.0F},
    {"recovery_turn", "this turn contained a recovery slide", 1, 1.0F},
    {"may_swap", "the seat to move may swap", 1, 1.0F},
    {"swap_ahead", "the other seat will be able to swap", 1, 1.0F},
    {"lps_count", "complete rounds of the exclusive seat as a share of those that win", 1, 1.0F},
    {"lps_exclusive", "1 for the exclusive seat of the last-player-standing tracker", kMaxSeats, 1.0F},
    {"lps_first", "1 for the seat that opens a round", kMaxSeats, 1.0F},
    {"lps_seen", "1 where the seat has begun a turn in this round", kMaxSeats, 1.0F},
    {"lps_real", "1 where it had a real action then", kMaxSeats, 1.0F},
};

template <int N>
constexpr int feature_count(const FeatureRow (&table)[N]) {
  int n = 0;
  for (const FeatureRow& row : table) n += row.count;
  return n;
}

inline constexpr int kPlanes = feature_count(kPlaneTable);
inline constexpr int kGlobals = feature_count(kGlobalTable);

/// Writes the planes [kPlanes][row = x][column = y] and the globals [kGlobals] of a position that is not over.
template <class B>
void encode(const State<B>& state, uint8_t* planes, float* globals);

/// Bits that a cell of each plane takes: one, but for the planes that count rings.
template <class B>
inline constexpr auto kPlaneBits = [] {
  std::array<uint8_t, kPlanes> bits{};
  size_t plane = 0;
  for (const FeatureRow& row : kPlaneTable)
    for (int k = 0; k < row.count; ++k)
      bits[plane++] = row.scale == 1.0F ? uint8_t{1} : static_cast<uint8_t>(std::bit_width(unsigned{B::kMaxHeight}));
  return bits;
}();

/// The first bit of each plane, and at the end the number of all.
template <class B>
inline constexpr auto kPlaneStart = [] {
  std::array<int, kPlanes + 1> start{};
  for (size_t p = 0; p < kPlanes; ++p) start[p + 1] = start[p] + kPlaneBits<B>[p];
  return start;
}();

/// Bytes of one bit of every cell of the box.
template <class B>
inline constexpr int kPackedCells = (B::kSlots + 7) / 8;

/// As `encode`, with every bit of every plane in kPackedCells bytes: plane by plane, low bit first, the first cell in
/// the highest bit of the first byte. What each plane holds is also or-ed into `seen` [kPlanes].
template <class B>
void encode_packed(const State<B>& state, uint8_t* bits, uint8_t* seen, float* globals);

/// 16 hex digits over both tables, the policy table and the encoding version: equal hashes mean that a network and a
/// sample understand each other.
std::string encoding_hash();

}  // namespace rr
