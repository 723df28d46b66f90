// Changed position texts and moves, read under the sanitizers: only the two documented errors may come out, and what is
// read must be sound, write itself back and play on.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "core/game.h"
#include "core/playout.h"

namespace rr {

/// One or two small changes of a text.
inline std::string changed(std::string text, const std::string& other, Random& random) {
  static const std::string letters = "0123456789,;:/-= >x*[]@PMCKRLOTEFSNAlrt";
  const auto at = [&](const std::string& s) { return random.below(static_cast<uint32_t>(s.size() + 1)); };
  for (uint32_t n = 1 + random.below(2); n > 0; --n) {
    const size_t a = at(text);
    switch (random.below(5)) {
      case 0:
        text.erase(a, 1 + random.below(4));
        break;
      case 1:
        if (a < text.size()) text[a] = letters[random.below(static_cast<uint32_t>(letters.size()))];
        break;
      case 2:
        text.insert(a, 1, letters[random.below(static_cast<uint32_t>(letters.size()))]);
        break;
      case 3:
        text.insert(a, other.substr(std::min<size_t>(at(other), other.size()), 1 + random.below(24)));
        break;
      default:
        text.insert(a, std::to_string(random.next() >> random.below(64)));
    }
  }
  return text;
}

/// Reads changed texts of positions and moves from all over random games of a config; how many were read.
inline int fuzz(Config config, uint64_t seed, int inputs) {
  Random random{seed};
  std::vector<std::string> texts, moves;
  Game game(config, {.swap_rule = seed % 2 == 1, .rings_per_player = 6, .lps_rounds = 3});
  const auto over = [](const Game& g) { return g.visit([](const auto& s) { return s.over(); }); };
  const auto draw = [&](const Game& g) {
    return g.visit([&](const auto& s) {
      std::vector<Move> list;
      generate_playable(s, list);
      return list[random.below(static_cast<uint32_t>(list.size()))];
    });
  };
  while (!over(game)) {
    texts.push_back(game.text());
    const Move move = draw(game);
    moves.push_back(game.visit([&](const auto& s) { return move_text(s, move); }));
    game.push(move);
  }
  int read = 0;
  for (int i = 0; i < inputs; ++i) {
    const size_t n = random.below(static_cast<uint32_t>(texts.size()));
    const std::string& other = texts[random.below(static_cast<uint32_t>(texts.size()))];
    const std::string text = changed(texts[n], other, random);
    try {
      Game found = Game::from_text(text);
      ++read;
      if (Game::from_text(found.text()).text() != found.text()) throw std::logic_error("no round trip: " + text);
      for (int ply = 0; ply < 4 && !over(found); ++ply) found.push_unchecked(draw(found));
      const std::string wrong = found.visit([](const auto& s) { return check_invariants(s); });
      if (!wrong.empty()) throw std::logic_error(wrong + ": " + text);
    } catch (const NotationError&) {
    }
    try {
      Game here = Game::from_text(texts[n]);
      const std::string move = changed(moves[n], moves[random.below(static_cast<uint32_t>(moves.size()))], random);
      here.push_unchecked(here.visit([&](const auto& s) { return parse_move(s, move); }));
      if (!over(here)) here.push(Move{draw(here).bits ^ 1u << random.below(32)});
    } catch (const NotationError&) {
    } catch (const IllegalMoveError&) {
    }
  }
  return read;
}

}  // namespace rr
