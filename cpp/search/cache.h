// Evaluations by position key, so that a position met twice is evaluated once. Equal keys mean equal futures, hence equal
// legal lists and equal answers: what a search finds does not depend on its cache.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include "core/types.h"

namespace rr {

using SeatValues = std::array<float, kMaxSeats>;

/// Answers in the order they came; the oldest make room. One thread uses it.
class EvaluationCache {
 public:
  struct Entry {
    uint64_t key = 0;
    uint64_t at = 0;  ///< of the first logit, in the stream of all logits ever stored
    int32_t size = 0;
    SeatValues value{};
  };

  /// Room for about so many bytes of logits; 0: keeps nothing.
  explicit EvaluationCache(size_t bytes) {
    if (bytes == 0) return;
    logits_.resize(std::bit_ceil(bytes / sizeof(float)));
    entries_.resize(std::max<size_t>(1, logits_.size() / 32));
  }

  const Entry* find(uint64_t key) const {
    if (entries_.empty()) return nullptr;
    const Entry& e = slot(key);
    return e.size > 0 && e.key == key && written_ - e.at <= logits_.size() ? &e : nullptr;
  }
  /// Logit i of an entry that was found.
  float logit(const Entry& e, int i) const { return logits_[(e.at + static_cast<uint64_t>(i)) & (logits_.size() - 1)]; }

  /// Stores the answer for a position; `logit_of(i)` gives its logits.
  template <class F>
  void store(uint64_t key, const SeatValues& value, int size, const F& logit_of) {
    if (static_cast<size_t>(size) > logits_.size()) return;
    const_cast<Entry&>(slot(key)) = {key, written_, size, value};
    for (int i = 0; i < size; ++i) logits_[written_++ & (logits_.size() - 1)] = logit_of(i);
  }

 private:
  const Entry& slot(uint64_t key) const { return entries_[key & (entries_.size() - 1)]; }

  std::vector<Entry> entries_;
  std::vector<float> logits_;
  uint64_t written_ = 0;
};

}  // namespace rr
