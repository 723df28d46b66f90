// The four boards and the numbers that follow from a board, a seat count and the options (rules section 1 and 2).
#pragma once

#include <cstdint>
#include <string_view>

#include "types.h"

namespace rr {

/// A row for each board: its type (geometry.h), the fields of BoardInfo, and how its sets of cells are stored. Whatever is
/// compiled for each board is `RR_BOARDS(RR_INSTANTIATE)`.
#define RR_BOARDS(X)                                                                         \
  X(Square8, "square8", false, 8, 64, 18, 3, Bits64, uint32_t, 16)                           \
  X(Square19, "square19", false, 19, 361, 72, 4, BitsRows<uint32_t, 3, 32, 3>, uint64_t, 32) \
  X(Hex8, "hex8", true, 9, 61, 18, 4, BitsRows<uint16_t, 1, 16, 2>, uint32_t, 16)            \
  X(Hexagonal, "hexagonal", true, 25, 469, 96, 4, BitsRows<uint32_t, 4, 32, 4>, uint64_t, 32)

#define RR_ROW(B, ...) B,
enum class BoardId : uint8_t { RR_BOARDS(RR_ROW) };
#undef RR_ROW
#define RR_ROW(B, ...) +1
inline constexpr int kBoards = RR_BOARDS(RR_ROW);
#undef RR_ROW
inline constexpr int kMaxRingsPerPlayer = 999;  ///< most that the option may set

struct BoardInfo {
  std::string_view name;
  bool hex;
  int width;             ///< cells along one side of the box
  int cells;             ///< cells of the board
  int rings;             ///< rings per seat
  int base_line_length;  ///< the shortest run that the line phase notices, unless the effective length is longer
};

#define RR_ROW(B, name, hex, width, cells, rings, line, ...) {name, hex, width, cells, rings, line},
inline constexpr BoardInfo kBoardInfo[kBoards] = {RR_BOARDS(RR_ROW)};
#undef RR_ROW

/// Options of a game; zero means the default of the board.
struct Options {
  bool swap_rule = false;
  uint16_t rings_per_player = 0;
  uint8_t lps_rounds = 3;
  bool operator==(const Options&) const = default;
};

/// Effective numbers of a game, fixed from its first ply to its last.
struct Rules {
  uint16_t rings = 0;              ///< rings per seat
  uint16_t victory_threshold = 0;  ///< eliminated rings that win
  uint16_t territory_minimum = 0;  ///< collapsed cells that can win
  uint8_t seats = 2;
  uint8_t line_length = 0;  ///< q: cells that a line collapse needs
  uint8_t line_notice = 0;  ///< shortest run that the line phase notices
  uint8_t lps_rounds = 3;
  bool swap_rule = false;
  bool operator==(const Rules&) const = default;
};

inline constexpr Rules make_rules(BoardId board, int seats, const Options& options) {
  const BoardInfo& info = kBoardInfo[static_cast<int>(board)];
  const bool small = info.width < 10;
  Rules r;
  r.seats = static_cast<uint8_t>(seats);
  r.rings = options.rings_per_player != 0 ? options.rings_per_player : static_cast<uint16_t>(info.rings);
  r.victory_threshold = static_cast<uint16_t>((2 * r.rings * (seats + 1) + 3) / 6);  // round half up
  r.territory_minimum = static_cast<uint16_t>(info.cells / seats + 1);
  r.line_length = static_cast<uint8_t>(small && seats > 2 ? 3 : 4);
  r.line_notice = static_cast<uint8_t>(board == BoardId::Square8 ? r.line_length : info.base_line_length);
  if (r.line_notice < r.line_length) r.line_notice = r.line_length;
  r.lps_rounds = options.lps_rounds;
  r.swap_rule = options.swap_rule && seats == 2;
  return r;
}

}  // namespace rr
