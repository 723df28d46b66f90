// Small value types of the rules core: cells, seats, phases and the packed move.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace rr {

/// Index of a cell in the framed box of its board: (row + 1) * stride + (column + 1). Row = x, column = y, both
/// counted from the lowest coordinate, so numerical order is the canonical order of cells (by x, then by y).
using Cell = uint16_t;
inline constexpr Cell kNoCell = 0;  ///< a corner of the guard frame: never a real cell

/// Seat counted from 0; texts and Python count from 1.
using Seat = uint8_t;
inline constexpr int kMaxSeats = 4;
inline constexpr Seat kNoSeat = 0xFF;

enum class Phase : uint8_t {
  RingPlacement,
  Movement,
  Capture,
  ChainCapture,
  LineProcessing,
  TerritoryProcessing,
  ForcedElimination,
  GameOver,
};

enum class MoveType : uint8_t {
  Place,               // Px,y*n      cell, count
  SkipPlacement,       // SP
  NoPlacement,         // NP
  Swap,                // SW
  Step,                // Mf>t        cell, direction, distance
  Capture,             // Cfxc>t      cell, direction, distance to the target, distance to the landing
  ChainCapture,        // Kfxc>t      the same
  SkipCapture,         // SC
  NoMovement,          // NM
  SlideLine,           // Rf>t:L1     cell, direction, extraction cell
  SlideLineFree,       // Rf>t:L2[..] cell, direction
  SlideStep,           // Rf>t:F      cell, direction, extraction cell
  SlideStrike,         // Rf>t:S      cell, direction, extraction cell
  SkipRecovery,        // SR
  Line,                // L[..]       first cell, axis, length
  LineAll,             // O[..]:A     first cell, axis, length
  LineWindow,          // O[..]:[..]  first cell, axis, length, offset of the window
  NoLine,              // NL
  Territory,           // T[..]       lowest cell of the region, border seat + 1 (0: no border seat)
  SkipTerritory,       // ST
  NoTerritory,         // NT
  EliminateLine,       // Ec:l        cell
  EliminateTerritory,  // Ec:t        cell
  EliminateRecovery,   // Ec:r        cell
  ForcedElimination,   // Fc          cell
};
inline constexpr int kMoveTypes = 25;

/// A move in 32 bits: type 5 | cell 10 | a 5 | b 5 | direction 3. Slides keep their extraction cell in a and b
/// together. Equal bits mean the same move in the same position.
struct Move {
  uint32_t bits;

  static constexpr Move make(MoveType type, Cell cell = kNoCell, int dir = 0, int a = 0, int b = 0) {
    return {static_cast<uint32_t>(type) | uint32_t{cell} << 5 | static_cast<uint32_t>(a) << 15 |
            static_cast<uint32_t>(b) << 20 | static_cast<uint32_t>(dir) << 25};
  }
  constexpr MoveType type() const { return static_cast<MoveType>(bits & 31); }
  constexpr Cell cell() const { return static_cast<Cell>(bits >> 5 & 1023); }
  static constexpr uint32_t kDistanceStep = 1u << 15;  ///< added to a plain move: one cell further
  static constexpr uint32_t kLandingStep = 1u << 20;   ///< added to a capture: landing one cell further
  constexpr int dir() const { return static_cast<int>(bits >> 25 & 7); }
  constexpr int a() const { return static_cast<int>(bits >> 15 & 31); }
  constexpr int b() const { return static_cast<int>(bits >> 20 & 31); }
  constexpr int count() const { return a(); }     ///< rings placed
  constexpr int distance() const { return a(); }  ///< cells travelled by a plain move, or to the capture target
  constexpr int landing() const { return b(); }   ///< cells from the origin to the landing of a capture
  constexpr int length() const { return a(); }    ///< cells of a line
  constexpr int offset() const { return b(); }    ///< first cell of a window within its line
  constexpr Seat border() const { return static_cast<Seat>(a() - 1); }  ///< border seat of a region, or kNoSeat
  constexpr Cell extraction() const { return static_cast<Cell>(bits >> 15 & 1023); }
  constexpr Move with_extraction(Cell c) const { return {(bits & ~(1023u << 15)) | uint32_t{c} << 15}; }
  constexpr bool is_slide() const { return type() >= MoveType::SlideLine && type() <= MoveType::SlideStrike; }
  /// True for slides that cost a buried ring: they are played with an extraction cell.
  constexpr bool costs_ring() const { return is_slide() && type() != MoveType::SlideLineFree; }
  constexpr bool operator==(const Move&) const = default;
};

/// For every byte the places of its set bits, lowest first, as the cell field of a move; then zeros.
inline constexpr auto kOctetCells = [] {
  std::array<std::array<uint32_t, 8>, 256> table{};
  for (unsigned octet = 0; octet < 256; ++octet)
    for (unsigned bit = 0, n = 0; bit < 8; ++bit)
      if ((octet >> bit & 1) != 0) table[octet][n++] = bit << 5;
  return table;
}();

/// Room for every legal list. A landing cell sees at most one mover and one capturing stack in each direction, and a
/// marker makes at most two slides in each: 2 * 8 * 361 moves on square19, 2 * 6 * 469 on hexagonal.
struct MoveList {
  static constexpr int kCapacity = 6144;
  int size;
  Move moves[kCapacity + 32];  // runs are written in eights

  void push(Move m) { moves[size++] = m; }
  /// One move of a type and its small fields for each cell of a set.
  template <class Bits>
  void push_cells(const Bits& cells, Move prototype) {
    typedef uint32_t Lanes __attribute__((vector_size(32)));
    Move* const begin = moves + size;
    size += cells.for_each_octet([&](Cell first, uint8_t octet, int before) {
      Lanes lanes;
      __builtin_memcpy(&lanes, kOctetCells[octet].data(), sizeof lanes);
      lanes += prototype.bits + (uint32_t{first} << 5);
      __builtin_memcpy(begin + before, &lanes, sizeof lanes);  // beyond the set bits: overwritten by what follows
    });
  }
  const Move* begin() const { return moves; }
  const Move* end() const { return moves + size; }
  Move operator[](int i) const { return moves[i]; }
};

/// Writes moves first, first + step, first + 2 step, .. at `end` and returns the new end; none where count <= 0. The
/// usual few need no branch; up to eight moves beyond the new end are overwritten.
inline Move* write_run(Move* end, Move first, uint32_t step, int count) {
  typedef uint32_t Lanes __attribute__((vector_size(32)));
  constexpr Lanes iota = {0, 1, 2, 3, 4, 5, 6, 7};
  Lanes lanes = iota * step + first.bits;
  __builtin_memcpy(end, &lanes, sizeof lanes);
  for (int done = 8; done < count; done += 8) {
    lanes += 8 * step;
    __builtin_memcpy(end + done, &lanes, sizeof lanes);
  }
  return end + std::max(count, 0);
}

}  // namespace rr
