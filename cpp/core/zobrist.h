// Position keys: one mixed 64-bit word per thing on the board, joined by xor. Fixed constants: keys never change
// between runs, machines or versions of one key format.
#pragma once

#include <cstdint>

namespace rr {

/// A strong 64-bit finaliser (two multiplications).
constexpr uint64_t mix(uint64_t v) {
  v ^= v >> 32;
  v *= 0xD6E8FEB86659FD93ULL;
  v ^= v >> 32;
  v *= 0xD6E8FEB86659FD93ULL;
  return v ^ v >> 32;
}

constexpr uint64_t stack_key(uint32_t cell, uint64_t stack) {
  return mix(stack ^ (uint64_t{cell} + 1) * 0x9E3779B97F4A7C15ULL);
}
constexpr uint64_t marker_key(uint32_t cell, uint32_t seat) {
  return mix((uint64_t{cell} << 2 | seat) + 0xA24BAED4963EE407ULL);
}
constexpr uint64_t collapsed_key(uint32_t cell, uint32_t seat) {
  return mix((uint64_t{cell} << 2 | seat) + 0x3C79AC492BA7B653ULL);
}

}  // namespace rr
