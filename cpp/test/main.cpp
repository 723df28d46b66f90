// The core's own tests, built with the sanitizers by `make sanitize`. Everything else is tested from Python.
//
//   rr_test            random games of every config with every check after each ply, their samples, and perft
//   rr_test --fuzz N   N changed texts of each config, read and used
//   rr_test --replay   games on standard input, a line each: config TAB position text TAB moves joined with '|'
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "core/game.h"
#include "core/perft.h"
#include "core/playout.h"
#include "core/samples.h"
#include "fuzz.h"
#include "search/minimax.h"
#include "search/pool.h"

namespace rr {
namespace {

[[noreturn]] void fail(const Game& game, const std::string& what) {
  std::cerr << "FAILED: " << what << "\n  at " << game.text() << "\n";
  std::exit(1);
}

/// Everything that must hold in every position.
void check(const Game& game) {
  game.visit([&]<class B>(const State<B>& s) {
    if (const std::string wrong = check_invariants(s); !wrong.empty()) fail(game, wrong);
    if (s.key() != recomputed_key(s)) fail(game, "the key differs from the recomputed key");
    MoveList legal, refused;
    generate(s, legal);
    generate_refused(s, refused);
    if ((legal.size == 0) != s.over()) fail(game, "a game is over if and only if it has no legal move");
    for (const Move m : refused)
      for (const Move l : legal)
        if (l == m) fail(game, "a refused slide is legal");
    for (const MoveList* list : {&legal, &refused})
      for (const Move m : *list)
        if (move_text(s, m).empty()) fail(game, "a move without a text");
  });
  const std::string text = game.text();
  const Game copy = Game::from_text(text);
  if (copy.text() != text) fail(game, "the position text does not round-trip: " + copy.text());
}

/// A random legal move, read back from its text, and the position seen through a symmetry and back.
Move draw(const Game& game, Random& random) {
  return game.visit([&]<class B>(const State<B>& s) {
    std::vector<Move> moves;
    generate_playable(s, moves);
    const Move m = moves[random.below(static_cast<uint32_t>(moves.size()))];
    if (parse_move(s, move_text(s, m)) != m) fail(game, "a move does not read back: " + move_text(s, m));
    const int g = static_cast<int>(random.below(kSymmetries<B>));
    const State<B> there = transform(s, g);
    if (transform(there, inverse_symmetry<B>(g)).key() != s.key()) fail(game, "a symmetry and its inverse differ");
    if (transform_move(there, transform_move(s, m, g), inverse_symmetry<B>(g)) != m && symmetry_holds(s, g, {m}))
      fail(game, "a move through a symmetry and back differs: " + move_text(s, m));
    return m;
  });
}

/// Every depth-first search, from a position that is not over.
void search(const Game& game, uint64_t seed) {
  game.visit([&]<class B>(const State<B>& s) {
    for (const MinimaxRule rule : {MinimaxRule::Paranoid, MinimaxRule::MaxN, MinimaxRule::BestReply}) {
      const MinimaxOutcome found =
          Minimax<B>({.rule = rule, .nodes = 400, .depth = 8, .quiescence = 3, .table = 256}).run(s, seed);
      if (!is_playable(s, found.move) || found.nodes > 400) fail(game, "a search ends with a wrong move or too late");
      State<B> end = s;
      for (const Move m : found.line) {
        if (!is_playable(end, m)) fail(game, "a search's best line cannot be played");
        apply(end, m);
      }
    }
  });
}

/// The tree searches over made-up answers, all equal in every other one: along a game, with its tree and the cache kept.
void grow(const Game& start, uint64_t seed) {
  const BatchShape shape = batch_shape(start.config());
  constexpr int kRows = 7;
  const auto rows = static_cast<size_t>(kRows), side = static_cast<size_t>(shape.side);
  std::vector<uint8_t> planes(rows * static_cast<size_t>(shape.planes) * side * side);
  std::vector<float> globals(rows * static_cast<size_t>(shape.globals));
  std::vector<float> logits(rows * static_cast<size_t>(shape.policy)), values(rows * static_cast<size_t>(shape.seats));
  const SearchSettings rules[] = {GumbelSettings{.simulations = 40}, PuctSettings{.simulations = 40, .leaves = 3}};
  for (int variant = 0; variant < 8; ++variant) {
    Random random{seed};
    for (float& x : logits) x = variant & 1 ? static_cast<float>(random.below(9)) : 0.0F;
    for (float& x : values) x = 1.0F / static_cast<float>(shape.seats);
    const bool heuristic = variant >= 6;
    const auto pool = SearchPool::make(start.config(), {rules[variant >> 1 & 1], heuristic, true, size_t{1} << 16});
    Game game = start;
    for (int decision = 0; decision < 4 && !game.visit([](const auto& s) { return s.over(); }); ++decision) {
      pool->clear();
      pool->add(game, seed, 0);
      for (int batch = 0; pool->collect(planes.data(), globals.data(), kRows) > 0; ++batch) {
        if (decision == 2 && batch == 3) break;  // stopped in the middle of a round
        pool->feed(logits.data(), values.data());
      }
      pool->stop();
      const SearchOutcome found = pool->outcome(0);
      const Move move{found.moves[static_cast<size_t>(found.choice)]};
      if (!game.visit([&](const auto& s) { return is_playable(s, move); })) fail(game, "a tree ends with a wrong move");
      game.push(move);
      std::vector<Move> forced;
      while (game.visit([&](const auto& s) {
        generate_playable(s, forced);
        return forced.size() == 1;
      }))
        game.push(forced[0]);
    }
  }
}

void random_play(Config config, const Options& options, uint64_t seed, int plies_between_checks) {
  Random random{seed};
  Game game(config, options);
  while (!game.visit([](const auto& s) { return s.over(); })) {
    game.push(draw(game, random));
    if (game.ply() % plies_between_checks == 0) check(game);
    if (game.ply() % (64 * std::min(plies_between_checks, 4)) == 0 &&
        !game.visit([](const auto& s) { return s.over(); }))
      search(game, seed);
    if (game.ply() % 50 == 0) {
      if (seed == 0 && game.ply() % 200 == 50) grow(game, seed);
      const std::string before = game.text();
      const Move last = game.pop();
      game.push_unchecked(last);
      if (game.text() != before) fail(game, "pop and push differ");
    }
  }
  check(game);
}

/// The samples of a random game: sound rows, the same with several threads, and where `may_break_symmetry` has no say
/// every symmetry holds.
void sample(Config config, const Options& options, uint64_t seed) {
  Random random{seed};
  const Game start(config, options);
  Game game = start;
  std::vector<uint32_t> moves;
  start.visit([&]<class B>(State<B> s) {
    std::vector<Move> playable;
    while (!s.over()) {
      generate_playable(s, playable);
      const bool quirk =
          std::any_of(playable.begin(), playable.end(), may_break_symmetry<B>) || s.may_recover(s.to_move);
      const int g = static_cast<int>(random.below(kSymmetries<B>));
      if (!quirk && moves.size() % 7 == 0 && !symmetry_holds(s, g, playable)) fail(game, "a symmetry does not hold");
      const Move m = playable[random.below(static_cast<uint32_t>(playable.size()))];
      apply(s, m);
      game.push(m);
      moves.push_back(m.bits);
    }
  });
  std::vector<int32_t> plies, lengths;
  find_decisions(start, moves, plies, lengths);
  PlayedGame played;
  played.start = &start;
  played.moves = moves;
  played.ranks = {1, 2, 3, 4};
  const std::vector<PlayedGame> games(20, played);
  const SampleArrays one = make_samples(config, games, true, 1), three = make_samples(config, games, true, 3);
  const size_t rows = 20 * plies.size();
  if (one.size() != rows || one.symmetry.size() != rows || one.globals.size() != rows * kGlobals ||
      one.policy_address.size() != 2 * one.policy_target.size())
    fail(game, "samples of the wrong number or shape");
  if (one.planes_packed != three.planes_packed || one.policy_target != three.policy_target)
    fail(game, "the number of threads changes the samples");
  moves.pop_back();
  played.moves = moves;
  try {
    make_samples(config, {&played, 1}, true, 1);
    fail(game, "a game that is not over gave samples");
  } catch (const std::invalid_argument&) {
  }
}

int replay(std::istream& in) {
  std::string line;
  long games = 0, plies = 0;
  while (std::getline(in, line)) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    Game game = Game::from_text(line.substr(0, tab));
    size_t begin = tab + 1;
    while (begin < line.size()) {
      const size_t end = std::min(line.find('|', begin), line.size());
      const std::string text = line.substr(begin, end - begin);
      game.push(game.visit([&](const auto& s) { return parse_move(s, text); }));
      if (plies++ % 8 == 0) check(game);
      begin = end + 1;
    }
    ++games;
  }
  std::cout << games << " games, " << plies << " plies replayed\n";
  return games > 0 ? 0 : 1;
}

int run() {
  for (int board = 0; board < kBoards; ++board)
    for (int seats = 2; seats <= kMaxSeats; ++seats) {
      const Config config{static_cast<BoardId>(board), seats};
      const bool small = kBoardInfo[board].width < 10;
      for (uint64_t seed = 0; seed < (small ? 6 : 1); ++seed)
        random_play(config, {.swap_rule = seed % 2 == 1, .rings_per_player = 0, .lps_rounds = 3}, seed, small ? 1 : 16);
      for (uint64_t seed = 10; seed < 14; ++seed)
        random_play(config, {.swap_rule = false, .rings_per_player = 5, .lps_rounds = 1}, seed, small ? 1 : 4);
      sample(config, {.swap_rule = false, .rings_per_player = 5, .lps_rounds = 3}, 7);
      const Game game(config, {});
      const uint64_t leaves = game.visit([](const auto& s) { return perft(s, 2); });
      std::cout << config_name(config) << ": random games sound, perft 2 = " << leaves << std::endl;
    }
  return 0;
}

int fuzz_all(int inputs) {
  for (int board = 0; board < kBoards; ++board)
    for (int seats = 2; seats <= kMaxSeats; ++seats) {
      const Config config{static_cast<BoardId>(board), seats};
      const int read = fuzz(config, static_cast<uint64_t>(board * 10 + seats), inputs);
      std::cout << config_name(config) << ": " << inputs << " changed texts, " << read << " read" << std::endl;
    }
  return 0;
}

}  // namespace
}  // namespace rr

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "--replay") return rr::replay(std::cin);
  if (argc > 2 && std::string(argv[1]) == "--fuzz") return rr::fuzz_all(std::atoi(argv[2]));
  return rr::run() + rr::fuzz_all(300);
}
