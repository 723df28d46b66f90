// The random numbers of the searches: a counter that is mixed, so that a seed gives the same numbers everywhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "core/zobrist.h"

namespace rr {

class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(mix(seed + 0x9E3779B97F4A7C15ULL)) {}

  uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15ULL); }
  /// In (0, 1), both ends excluded.
  double uniform() { return (static_cast<double>(next() >> 12) + 0.5) * 0x1p-52; }
  /// From the standard Gumbel distribution.
  float gumbel() { return static_cast<float>(-std::log(-std::log(uniform()))); }
  /// From the standard normal distribution (Box and Muller 1958).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }
  /// From the gamma distribution of that shape and scale 1 (Marsaglia and Tsang 2000).
  double gamma(double shape) {
    if (shape < 1.0) {
      const double boost = std::pow(uniform(), 1.0 / shape);
      return gamma(shape + 1.0) * boost;
    }
    const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
    for (;;) {
      const double x = normal(), v = std::pow(1.0 + c * x, 3);
      if (v > 0.0 && std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

 private:
  uint64_t state_;
};

}  // namespace rr
