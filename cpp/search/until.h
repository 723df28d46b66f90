// When a search ends before its budget is used up.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

namespace rr {

/// Set by any thread, and never taken back.
using Stop = std::atomic<bool>;

/// At a moment, or as soon as somebody says so.
struct Until {
  using Clock = std::chrono::steady_clock;
  Clock::time_point deadline = Clock::time_point::max();
  std::shared_ptr<const Stop> stop;

  static Until from_now(std::optional<double> seconds, std::shared_ptr<const Stop> stop) {
    if (!seconds) return {Clock::time_point::max(), std::move(stop)};
    return {Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(*seconds)),
            std::move(stop)};
  }
  bool timed() const { return deadline != Clock::time_point::max(); }
  bool reached() const {
    return (stop != nullptr && stop->load(std::memory_order_relaxed)) || (timed() && Clock::now() >= deadline);
  }
};

}  // namespace rr
