// 16-bit floating-point numbers (IEEE 754 binary16) as they stand in records and shards.
#pragma once

#include <bit>
#include <cstdint>

namespace rr {

inline float from_half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t rest = h & 0x7FFFU;
  if (rest >= 0x7C00) return std::bit_cast<float>(sign | 0x7F800000 | (rest & 0x3FF) << 13);
  if (rest >= 0x400) return std::bit_cast<float>(sign | ((rest << 13) + (112U << 23)));
  const float size = static_cast<float>(rest) * 0x1p-24F;
  return sign != 0 ? -size : size;
}

/// Rounds to the nearest, ties to even.
inline uint16_t to_half(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f), size = bits & 0x7FFFFFFF;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (size > 0x7F800000) return sign | 0x7E00;
  if (size >= 0x477FF000) return sign | 0x7C00;  // 65520 and above
  if (size < 0x38800000)                         // below 2^-14: a multiple of 2^-24, which the addition rounds to
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5F) - 0x3F000000));
  return static_cast<uint16_t>(sign | (size - (112U << 23) + 0xFFF + (size >> 13 & 1)) >> 13);
}

}  // namespace rr
