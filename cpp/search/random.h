// The random numbers of the searches: a counter that is mixed, so that a seed gives the same numbers everywhere.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/zobrist.h"

namespace rr {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(mix(seed + 0x9E3779B97F4A7C15ULL)) {}

  uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15ULL); }
  /// In (0, 1), both ends excluded.
  double uniform() { return (static_cast<double>(next() >> 12) + 0.5) * 0x1p-52; }
  /// From the standard Gumbel distribution.
  float gumbel() { return static_cast<float>(-std::log(-std::log(uniform()))); }

 private:
  uint64_t state_;
};

}  // namespace rr
