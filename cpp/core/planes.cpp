#include "planes.h"

#include <array>
#include <cstdio>
#include <cstring>

#include "actions.h"

namespace rr {
namespace {

/// First plane or global of a row; asking for a name that is not in the table does not compile.
template <int N>
consteval int offset_of(const FeatureRow (&table)[N], std::string_view name) {
  int n = 0;
  for (const FeatureRow& row : table) {
    if (row.name == name) return n;
    n += row.count;
  }
  throw "no such row";
}

template <class B>
constexpr std::array<uint8_t, B::kSlots> kBoardPlane = [] {
  std::array<uint8_t, B::kSlots> plane{};
  for (int i = 0; i < B::kSlots; ++i)
    plane[static_cast<size_t>(i)] = B::on_board(B::x(B::from_slot(i)), B::y(B::from_slot(i)));
  return plane;
}();

template <class B>
constexpr std::array<uint8_t, kPackedCells<B>> kPackedBoard = [] {
  std::array<uint8_t, kPackedCells<B>> bits{};
  for (size_t i = 0; i < B::kSlots; ++i)
    bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | kBoardPlane<B>[i] << (7 - i % 8));
  return bits;
}();

/// Number of rings of a seat among the places `from` .. height - 1, counted from the top.
template <class W>
int count_rings(W stack, Seat seat, int from) {
  using Ops = StackOps<W>;
  const W differs = Ops::rings(stack) ^ static_cast<W>(Ops::kOnes * seat);
  const W same = static_cast<W>(~(differs | differs >> 1) & Ops::kOnes);
  const W places = ((W{1} << 2 * Ops::height(stack)) - 1) >> 2 * from << 2 * from;
  return std::popcount(static_cast<W>(same & places));
}

/// Calls set(plane, slot, value) for everything but the planes of the board itself.
template <class B, class Set>
void for_each_feature(const State<B>& s, Set&& set) {
  using Ops = typename State<B>::Ops;
  constexpr int kTop = offset_of(kPlaneTable, "top"), kCap = offset_of(kPlaneTable, "cap");
  constexpr int kHeight = offset_of(kPlaneTable, "height"), kBelow = offset_of(kPlaneTable, "below");
  constexpr int kBuried = offset_of(kPlaneTable, "buried"), kMarker = offset_of(kPlaneTable, "marker");
  constexpr int kTerritory = offset_of(kPlaneTable, "territory");
  const int n = s.seats();
  const auto rotated = [&](Seat seat) { return (seat + n - s.to_move) % n; };
  for (int k = 0; k < n; ++k) {
    const Seat seat = static_cast<Seat>((s.to_move + k) % n);
    s.marker[seat].for_each([&](Cell c) { set(kMarker + k, B::slot(c), 1); });
    s.territory[seat].for_each([&](Cell c) { set(kTerritory + k, B::slot(c), 1); });
    s.control[seat].for_each([&](Cell c) {
      const int at = B::slot(c);
      const auto stack = s.stack_at(c);
      const int cap = s.cap[c], height = Ops::height(stack);
      set(kTop + k, at, 1);
      set(kCap + k, at, cap);
      set(kHeight + k, at, height);
      if (cap == height) return;
      const auto rest = Ops::pop(stack, cap);
      set(kBelow + rotated(Ops::top(rest)), at, Ops::cap(rest));
      for (int j = 0; j < n; ++j) set(kBuried + j, at, count_rings(stack, static_cast<Seat>((s.to_move + j) % n), cap));
    });
  }
  if (s.must_move != kNoCell) set(offset_of(kPlaneTable, "must_move"), B::slot(s.must_move), 1);
  if (s.active != kNoCell) set(offset_of(kPlaneTable, "active"), B::slot(s.active), 1);
}

template <class B>
void encode_planes(const State<B>& s, uint8_t* planes) {
  constexpr int kCells = B::kSlots;
  std::memset(planes, 0, size_t{kPlanes} * kCells);
  std::memcpy(planes + offset_of(kPlaneTable, "board") * kCells, kBoardPlane<B>.data(), kCells);
  if constexpr (B::kHex)
    std::memcpy(planes + offset_of(kPlaneTable, "hexagon") * kCells, kBoardPlane<B>.data(), kCells);
  for_each_feature(s, [&](int p, int slot, int value) { planes[p * kCells + slot] = static_cast<uint8_t>(value); });
}

template <class B>
void encode_planes_packed(const State<B>& s, uint8_t* bits, uint8_t* seen) {
  constexpr int kBytes = kPackedCells<B>;
  std::memset(bits, 0, static_cast<size_t>(kPlaneStart<B>[kPlanes] * kBytes));
  const auto set = [&](int p, int slot, int value) {
    seen[p] = static_cast<uint8_t>(seen[p] | value);
    uint8_t* byte = bits + kPlaneStart<B>[static_cast<size_t>(p)] * kBytes + (slot >> 3);
    for (; value != 0; value >>= 1, byte += kBytes)
      if ((value & 1) != 0) *byte = static_cast<uint8_t>(*byte | 0x80 >> (slot & 7));
  };
  constexpr size_t kBoard = offset_of(kPlaneTable, "board"), kHexagon = offset_of(kPlaneTable, "hexagon");
  for (const size_t p : {kBoard, kHexagon}) {
    if (p == kHexagon && !B::kHex) continue;
    std::memcpy(bits + kPlaneStart<B>[p] * kBytes, kPackedBoard<B>.data(), kBytes);
    seen[p] = 1;
  }
  for_each_feature(s, set);
}

template <class B>
void encode_globals(const State<B>& s, float* globals) {
  std::fill_n(globals, kGlobals, 0.0F);
  constexpr BoardInfo kInfo = kBoardInfo[static_cast<int>(B::kId)];
  const Rules& r = s.rules;
  const int n = s.seats();
  const auto share = [](int part, int whole) { return static_cast<float>(part) / static_cast<float>(whole); };
  if (!s.over()) globals[offset_of(kGlobalTable, "phase") + static_cast<int>(s.phase)] = 1.0F;
  globals[offset_of(kGlobalTable, "seats") + n - 2] = 1.0F;
  for (int k = 0; k < n; ++k) {
    const Seat seat = static_cast<Seat>((s.to_move + k) % n);
    globals[offset_of(kGlobalTable, "hand") + k] = share(s.hand[seat], r.rings);
    globals[offset_of(kGlobalTable, "on_board") + k] = share(s.rings_on_board[seat], r.rings);
    globals[offset_of(kGlobalTable, "eliminated") + k] = share(s.eliminated[seat], r.victory_threshold);
    globals[offset_of(kGlobalTable, "territory") + k] = share(s.collapsed[seat], r.territory_minimum);
    globals[offset_of(kGlobalTable, "stacks") + k] = share(8 * s.stacks[seat], kInfo.cells);
    globals[offset_of(kGlobalTable, "alive") + k] = s.has_rings(seat);
    globals[offset_of(kGlobalTable, "lps_exclusive") + k] = s.lps.exclusive == seat;
    globals[offset_of(kGlobalTable, "lps_first") + k] = s.lps.first == seat;
    globals[offset_of(kGlobalTable, "lps_seen") + k] = static_cast<float>(s.lps.seen >> seat & 1);
    globals[offset_of(kGlobalTable, "lps_real") + k] = static_cast<float>(s.lps.real >> seat & 1);
  }
  globals[offset_of(kGlobalTable, "line_length")] = r.line_length > 3;
  globals[offset_of(kGlobalTable, "line_notice")] = r.line_notice > r.line_length;
  globals[offset_of(kGlobalTable, "cells")] = share(kInfo.cells, 469);
  globals[offset_of(kGlobalTable, "rings")] = share(r.rings, 96);
  globals[offset_of(kGlobalTable, "owes_line")] = s.owes_line;
  globals[offset_of(kGlobalTable, "owes_territory")] = s.owes_territory;
  globals[offset_of(kGlobalTable, "real_action")] = s.real_action;
  globals[offset_of(kGlobalTable, "recovery_turn")] = s.recovery_turn;
  globals[offset_of(kGlobalTable, "may_swap")] = s.swap == SwapState::Available && s.to_move == 1;
  globals[offset_of(kGlobalTable, "swap_ahead")] = s.swap != SwapState::Never && s.to_move == 0;
  globals[offset_of(kGlobalTable, "lps_count")] = share(s.lps.count, std::max<int>(1, r.lps_rounds));
}

}  // namespace

template <class B>
void encode(const State<B>& state, uint8_t* planes, float* globals) {
  encode_planes(state, planes);
  encode_globals(state, globals);
}

template <class B>
void encode_packed(const State<B>& state, uint8_t* bits, uint8_t* seen, float* globals) {
  encode_planes_packed(state, bits, seen);
  encode_globals(state, globals);
}

std::string encoding_hash() {
  uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ULL;
    hash = (hash ^ 0xFF) * 0x100000001B3ULL;
  };
  add(std::to_string(kEncodingVersion));
  for (const FeatureRow& row : kPlaneTable)
    add(row.name), add(std::to_string(row.count)), add(std::to_string(row.scale));
  add("globals");
  for (const FeatureRow& row : kGlobalTable) add(row.name), add(std::to_string(row.count));
  add("policy");
  for (const PolicyRow& row : kPolicyTable) add(row.name), add(std::to_string(row.count));
  for (const PolicyRow& row : kPolicyGlobalTable) add(row.name), add(std::to_string(row.count));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

#define RR_INSTANTIATE(B, ...)                             \
  template void encode(const State<B>&, uint8_t*, float*); \
  template void encode_packed(const State<B>&, uint8_t*, uint8_t*, float*);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
