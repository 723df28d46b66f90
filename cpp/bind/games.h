// Sequences of games given by Python, and arrays that C++ fills.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "arrays.h"
#include "core/game.h"
#include "rules.h"

namespace rr {

/// The games of a sequence, which all must be of one config.
inline std::vector<const Game*> games_of(const nb::sequence& sequence, Config config) {
  std::vector<const Game*> games;
  for (const nb::handle item : sequence) {
    const Game* game = nb::cast<const Game*>(item);
    if (game == nullptr) throw RulesError("a game is needed, not None");
    if (game->config().board != config.board || game->config().seats != config.seats)
      throw RulesError("all games of a batch have one config: " + config_name(config) + ", not " +
                       config_name(game->config()));
    games.push_back(game);
  }
  return games;
}

/// An array of the shape given, not initialised.
template <class T, int N>
NumpyArray<T, N> empty_numpy(const std::array<size_t, N>& shape) {
  size_t size = 1;
  for (const size_t n : shape) size *= n;
  T* data = new T[size];
  nb::capsule free(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return NumpyArray<T, N>(data, N, shape.data(), free);
}

}  // namespace rr
