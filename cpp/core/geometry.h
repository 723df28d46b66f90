// Per-board geometry: bitboards, directions, lines of the axes. Everything is constexpr; a board is a type.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "config.h"

namespace rr {

/// Bitboard of square8: one word, bit = 8 * row + column. Bits that leave the board by a shift are dropped.
struct Bits64 {
  uint64_t w = 0;

  static constexpr int index(Cell c) { return ((c >> 4) - 1) * 8 + ((c & 15) - 1); }
  static constexpr Cell cell(int i) { return static_cast<Cell>(((i >> 3) + 1) << 4 | ((i & 7) + 1)); }

  constexpr bool test(Cell c) const { return w >> index(c) & 1; }
  /// As test, for a cell that may stand on the guard frame.
  constexpr bool test_framed(Cell c) const {
    return static_cast<unsigned>((c >> 4) - 1) < 8 && static_cast<unsigned>((c & 15) - 1) < 8 && test(c);
  }
  constexpr void set(Cell c) { w |= uint64_t{1} << index(c); }
  constexpr void clear(Cell c) { w &= ~(uint64_t{1} << index(c)); }
  constexpr bool any() const { return w != 0; }
  constexpr int count() const { return std::popcount(w); }
  constexpr Cell lowest() const { return cell(std::countr_zero(w)); }
  constexpr Bits64 operator&(Bits64 o) const { return {w & o.w}; }
  constexpr Bits64 operator|(Bits64 o) const { return {w | o.w}; }
  constexpr Bits64 andnot(Bits64 o) const { return {w & ~o.w}; }
  constexpr Bits64& operator|=(Bits64 o) { return w |= o.w, *this; }
  constexpr Bits64& operator&=(Bits64 o) { return w &= o.w, *this; }
  constexpr bool operator==(const Bits64&) const = default;

  /// The board moved by (DX, DY) cells, each in -1..1.
  template <int DX, int DY>
  constexpr Bits64 shifted() const {
    uint64_t v = w;
    if constexpr (DY > 0) v = (v & 0x7F7F7F7F7F7F7F7FULL) << 1;
    if constexpr (DY < 0) v = (v & 0xFEFEFEFEFEFEFEFEULL) >> 1;
    if constexpr (DX > 0) v <<= 8;
    if constexpr (DX < 0) v >>= 8;
    return {v};
  }
  template <class F>
  constexpr void for_each(F&& f) const {
    for (uint64_t v = w; v != 0; v &= v - 1) f(cell(std::countr_zero(v)));
  }
  /// Calls f(first cell, eight bits, cells of the set before them) for stretches of eight cells that hold all of the
  /// set; returns its size.
  template <class F>
  constexpr int for_each_octet(F&& f) const {
    for (int i = 0; i < 8; ++i)
      f(cell(8 * i), static_cast<uint8_t>(w >> 8 * i), std::popcount(w & ((uint64_t{1} << 8 * i) - 1)));
    return std::popcount(w);
  }
  /// Every cell of `mask` in a row run with a cell of this set, this being a part of mask.
  constexpr Bits64 runs_filled(Bits64 mask) const {
    uint64_t f = w, up = mask.w & 0xFEFEFEFEFEFEFEFEULL, down = mask.w & 0x7F7F7F7F7F7F7F7FULL;
    f |= (up & f << 1) | (down & f >> 1);
    up &= up << 1;
    down &= down >> 1;
    f |= (up & f << 2) | (down & f >> 2);
    up &= up << 2;
    down &= down >> 2;
    return {f | (up & f << 4) | (down & f >> 4)};
  }
  /// The same along columns.
  constexpr Bits64 columns_filled(Bits64 mask) const {
    uint64_t f = w, m = mask.w;
    f |= (m & f << 8) | (m & f >> 8);
    const uint64_t up = m & m << 8, down = m & m >> 8;
    f |= (up & f << 16) | (down & f >> 16);
    return {f | (up & up << 16 & f << 32) | (down & down >> 16 & f >> 32)};
  }
  /// As for_each, but stops when f returns true; tells whether it did.
  template <class F>
  constexpr bool any_of(F&& f) const {
    for (uint64_t v = w; v != 0; v &= v - 1)
      if (f(cell(std::countr_zero(v)))) return true;
    return false;
  }
};

/// Bitboard of the other boards: one word a row, bit = framed column, in 256-bit vectors. Rows and columns include the
/// guard frame, so shifted bits may stand on the frame and must be masked with an on-board set before they are used.
/// Octets: stretches of eight columns that hold the whole row.
template <class Row, int Vectors, int Stride, int Octets>
struct BitsRows {
  typedef Row Vec __attribute__((vector_size(32)));
  static constexpr int kLanes = 32 / sizeof(Row);
  static constexpr int N = Vectors * kLanes;
  static constexpr int kShift = std::countr_zero(static_cast<unsigned>(Stride));

  union {
    Vec v[Vectors];
    Row r[N];
  };

  BitsRows() : v{} {}

  bool test(Cell c) const { return r[c >> kShift] >> (c & (Stride - 1)) & 1; }
  bool test_framed(Cell c) const { return test(c); }
  void set(Cell c) { r[c >> kShift] = static_cast<Row>(r[c >> kShift] | Row{1} << (c & (Stride - 1))); }
  void clear(Cell c) { r[c >> kShift] = static_cast<Row>(r[c >> kShift] & ~(Row{1} << (c & (Stride - 1)))); }
  bool any() const {
    Vec acc = v[0];
    for (int i = 1; i < Vectors; ++i) acc |= v[i];
    return any_lane(acc);
  }
  int count() const {
    int n = 0;
    for (int i = 0; i < N; ++i) n += std::popcount(r[i]);
    return n;
  }
  Cell lowest() const {
    const int i = std::countr_zero(used_rows());
    return static_cast<Cell>(i * Stride + std::countr_zero(r[i]));
  }
  BitsRows operator&(const BitsRows& o) const {
    return map([](Vec a, Vec b) { return a & b; }, o);
  }
  BitsRows operator|(const BitsRows& o) const {
    return map([](Vec a, Vec b) { return a | b; }, o);
  }
  BitsRows andnot(const BitsRows& o) const {
    return map([](Vec a, Vec b) { return a & ~b; }, o);
  }
  BitsRows& operator|=(const BitsRows& o) { return *this = *this | o; }
  BitsRows& operator&=(const BitsRows& o) { return *this = *this & o; }
  bool operator==(const BitsRows& o) const {
    Vec acc = v[0] ^ o.v[0];
    for (int i = 1; i < Vectors; ++i) acc |= v[i] ^ o.v[i];
    return !any_lane(acc);
  }

  /// The board moved by (DX, DY) cells; |DX| <= 4.
  template <int DX, int DY>
  [[gnu::always_inline]] BitsRows shifted() const {
    BitsRows out;
    for (int i = 0; i < Vectors; ++i) {
      Vec a = v[i];
      if constexpr (DX > 0) a = rows_from<kLanes - DX>(i > 0 ? v[i - 1] : Vec{}, a);
      if constexpr (DX < 0) a = rows_from<-DX>(a, i + 1 < Vectors ? v[i + 1] : Vec{});
      if constexpr (DY > 0) a = a << DY;
      if constexpr (DY < 0) a = a >> -DY;
      out.v[i] = a;
    }
    return out;
  }
  template <class F>
  void for_each(F&& f) const {
    for (uint32_t rows = used_rows(); rows != 0; rows &= rows - 1) {
      const int i = std::countr_zero(rows);
      for (Row w = r[i]; w != 0; w = static_cast<Row>(w & (w - 1)))
        f(static_cast<Cell>(i * Stride + std::countr_zero(w)));
    }
  }
  template <class F>
  bool any_of(F&& f) const {
    for (uint32_t rows = used_rows(); rows != 0; rows &= rows - 1) {
      const int i = std::countr_zero(rows);
      for (Row w = r[i]; w != 0; w = static_cast<Row>(w & (w - 1)))
        if (f(static_cast<Cell>(i * Stride + std::countr_zero(w)))) return true;
    }
    return false;
  }
  /// Calls f(first cell, eight bits, cells of the set before them) for stretches of eight cells that hold all of the
  /// set; returns its size.
  template <class F>
  int for_each_octet(F&& f) const {
    int before = 0;
    for (uint32_t rows = used_rows(); rows != 0; rows &= rows - 1) {
      const int i = std::countr_zero(rows);
      const uint32_t word = r[i];
      for (int k = 0; k < Octets; ++k)
        f(static_cast<Cell>(i * Stride + 8 * k), static_cast<uint8_t>(word >> 8 * k),
          before + std::popcount(word & ((1u << 8 * k) - 1)));
      before += std::popcount(word);
    }
    return before;
  }
  /// Every cell of `mask` in a row run with a cell of this set, this being a part of mask. The carry of one addition
  /// runs up a run from its lowest seed; downwards the runs double.
  [[gnu::always_inline]] BitsRows runs_filled(const BitsRows& mask) const {
    BitsRows out;
    for (int i = 0; i < Vectors; ++i) {
      Vec m = mask.v[i], f = v[i];
      f |= m & ~(m + f);
      f |= m & (f >> 1);
      m &= m >> 1;
      f |= m & (f >> 2);
      m &= m >> 2;
      f |= m & (f >> 4);
      m &= m >> 4;
      f |= m & (f >> 8);
      if constexpr (sizeof(Row) == 4) {
        m &= m >> 8;
        f |= m & (f >> 16);
      }
      out.v[i] = f;
    }
    return out;
  }
  /// The same along columns, for runs of up to eight cells a call.
  [[gnu::always_inline]] BitsRows columns_filled(const BitsRows& mask) const {
    BitsRows f = *this, m = mask;
    f |= m & f.template shifted<1, 0>();
    m &= m.template shifted<1, 0>();
    f |= m & f.template shifted<2, 0>();
    m &= m.template shifted<2, 0>();
    f |= m & f.template shifted<4, 0>();
    m = mask;
    f |= m & f.template shifted<-1, 0>();
    m &= m.template shifted<-1, 0>();
    f |= m & f.template shifted<-2, 0>();
    m &= m.template shifted<-2, 0>();
    return f | (m & f.template shifted<-4, 0>());
  }

 private:
  /// Bit i: row i is not empty.
  uint32_t used_rows() const {
    uint32_t rows = 0;
#ifdef __AVX2__
    typedef char Bytes __attribute__((vector_size(32)));
    typedef float Floats __attribute__((vector_size(32)));
    for (int i = 0; i < Vectors; ++i) {
      if constexpr (sizeof(Row) == 4) {
        rows |= static_cast<uint32_t>(__builtin_ia32_movmskps256(reinterpret_cast<Floats>(v[i] != 0))) << kLanes * i;
      } else {  // one vector of 16 lanes: two equal bits a row, thinned to one
        uint32_t pairs = static_cast<uint32_t>(__builtin_ia32_pmovmskb256(reinterpret_cast<Bytes>(v[i] != 0)));
        rows |= __builtin_ia32_pext_si(pairs, 0x55555555u);
      }
    }
#else
    for (int i = 0; i < N; ++i) rows |= static_cast<uint32_t>(r[i] != 0) << i;
#endif
    return rows;
  }
  static bool any_lane(Vec a) {
#ifdef __AVX__
    typedef long long Quads __attribute__((vector_size(32)));
    const Quads q = reinterpret_cast<Quads>(a);
    return !__builtin_ia32_ptestz256(q, q);
#else
    typedef uint64_t Words __attribute__((vector_size(32)));
    const Words w = reinterpret_cast<Words>(a);
    return (w[0] | w[1] | w[2] | w[3]) != 0;
#endif
  }
  template <class F>
  BitsRows map(F&& f, const BitsRows& o) const {
    BitsRows out;
    for (int i = 0; i < Vectors; ++i) out.v[i] = f(v[i], o.v[i]);
    return out;
  }
  /// Rows First, First + 1, .. of two neighbouring vectors.
  template <int First>
  static Vec rows_from(Vec low, Vec high) {
    return [&]<int... I>(std::integer_sequence<int, I...>) {
      return __builtin_shufflevector(low, high, (First + I)...);
    }(std::make_integer_sequence<int, kLanes>{});
  }
};

/// Directions: the first half are the axes in the order of rules section 8, the second half their opposites.
struct Step {
  int dx, dy;
};
inline constexpr std::array<Step, 8> kSquareSteps = {
    {{1, 0}, {0, 1}, {1, 1}, {1, -1}, {-1, 0}, {0, -1}, {-1, -1}, {-1, 1}}};
inline constexpr std::array<Step, 6> kHexSteps = {{{1, 0}, {1, -1}, {0, -1}, {-1, 0}, {-1, 1}, {0, 1}}};

/// Calls f.template operator()<D>() for D = 0 .. N-1.
template <int N, class F>
constexpr void unroll(F&& f) {
  [&]<int... D>(std::integer_sequence<int, D...>) {
    (f.template operator()<D>(), ...);
  }(std::make_integer_sequence<int, N>{});
}

/// What square and hex boards share; B is one of the four structs below.
template <BoardId Id, bool Hex, int Width, class BitsT, class StackWord, int StrideT>
struct BoardBase {
  static constexpr BoardId kId = Id;
  static constexpr bool kHex = Hex;
  static constexpr int kWidth = Width;
  static constexpr int kRadius = Hex ? Width / 2 : 0;
  static constexpr int kStride = StrideT;
  static constexpr int kStrideShift = std::countr_zero(static_cast<unsigned>(StrideT));
  static constexpr int kFrame = (Width + 2) * StrideT;  ///< cells of the framed box
  static constexpr int kSlots = Width * Width;          ///< cells of the box
  static constexpr int kAxes = Hex ? 3 : 4;
  static constexpr int kDirs = 2 * kAxes;
  static constexpr int kLines = 2 * Width + 3;
  using Bits = BitsT;
  using Stack = StackWord;
  static constexpr int kStackBits = sizeof(StackWord) * 8 - 8;
  static constexpr int kMaxHeight = kStackBits / 2;  ///< tallest stack that is held exactly

  static constexpr int row(Cell c) { return c >> kStrideShift; }
  static constexpr int col(Cell c) { return c & (kStride - 1); }
  static constexpr int slot(Cell c) { return (row(c) - 1) * Width + col(c) - 1; }
  static constexpr Cell at(int row, int col) { return static_cast<Cell>(row * kStride + col); }
  static constexpr Cell from_slot(int s) { return at(s / Width + 1, s % Width + 1); }
  static constexpr int x(Cell c) { return row(c) - 1 - kRadius; }
  static constexpr int y(Cell c) { return col(c) - 1 - kRadius; }
  static constexpr bool on_board(int x, int y) {
    if constexpr (Hex)
      return std::abs(x) <= kRadius && std::abs(y) <= kRadius && std::abs(x + y) <= kRadius;
    else
      return x >= 0 && y >= 0 && x < Width && y < Width;
  }
  static constexpr Cell from_xy(int x, int y) { return at(x + kRadius + 1, y + kRadius + 1); }

  static constexpr Step step(int dir) {
    if constexpr (Hex)
      return kHexSteps[static_cast<size_t>(dir)];
    else
      return kSquareSteps[static_cast<size_t>(dir)];
  }
  static constexpr int delta(int dir) { return step(dir).dx * kStride + step(dir).dy; }
  static constexpr int opposite(int dir) { return dir < kAxes ? dir + kAxes : dir - kAxes; }
  static constexpr Cell go(Cell c, int dir, int distance) { return static_cast<Cell>(c + delta(dir) * distance); }

  /// Which line of the axis a cell lies on, and its place there (1 .. Width, growing along the axis).
  static constexpr int line(int axis, Cell c) {
    const Step s = step(axis);
    if (s.dy == 0) return col(c);
    if (s.dx == 0) return row(c);
    return s.dx == s.dy ? row(c) - col(c) + Width + 1 : row(c) + col(c);
  }
  static constexpr int place(int axis, Cell c) {
    const Step s = step(axis);
    if (s.dx != 0) return row(c);
    return s.dy > 0 ? col(c) : Width + 1 - col(c);
  }

  static Bits board_bits() {
    Bits b;
    for (int s = 0; s < kSlots; ++s) {
      const Cell c = from_slot(s);
      if (on_board(x(c), y(c))) b.set(c);
    }
    return b;
  }

  /// Cells next to b by territory connection (4 neighbours on square boards, 6 on hex), with b itself.
  [[gnu::always_inline]] static Bits grown(const Bits& b) {
    const Bits up = b.template shifted<1, 0>(), down = b.template shifted<-1, 0>();
    if constexpr (Hex)
      return b | up | down | (b | down).template shifted<0, 1>() | (b | up).template shifted<0, -1>();
    else
      return b | up | down | b.template shifted<0, 1>() | b.template shifted<0, -1>();
  }
  /// Cells next to b in the eight offsets (+-1,0) (0,+-1) (+-1,+-1), with b itself.
  static Bits grown8(const Bits& b) {
    Bits out = b | b.template shifted<0, 1>() | b.template shifted<0, -1>();
    return out | out.template shifted<1, 0>() | out.template shifted<-1, 0>();
  }
};

#define RR_ROW(B, name, hex, width, cells, rings, line, ...) \
  struct B : BoardBase<BoardId::B, hex, width, __VA_ARGS__> {};
RR_BOARDS(RR_ROW)
#undef RR_ROW

template <class B>
inline const typename B::Bits kBoardBits = B::board_bits();

/// Calls f with the board struct of an id: visit_board(id, [&]<class B>() { ... }).
template <class F>
decltype(auto) visit_board(BoardId id, F&& f) {
  switch (id) {
#define RR_ROW(B, ...) \
  case BoardId::B:     \
    return f.template operator()<B>();
    RR_BOARDS(RR_ROW)
#undef RR_ROW
  }
  __builtin_unreachable();
}

}  // namespace rr
