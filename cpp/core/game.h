// A game of any board: the current state with the plies that led to it. What Python and the search pools hold.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "apply.h"
#include "movegen.h"
#include "notation.h"
#include "outcome.h"
#include "symmetry.h"

namespace rr {

struct Config {
  BoardId board;
  int seats;
};

/// "square8_2p" -> the config; nullopt where there is no such config.
std::optional<Config> parse_config(std::string_view name);
std::string config_name(Config config);

class Game {
 public:
  Game(Config config, const Options& options);

  /// Sets up a position text (config;options;canonical fields;turn fields). Throws NotationError.
  static Game from_text(std::string_view text);
  /// Sets up a canonical state string without history. Throws NotationError.
  static Game from_canonical(Config config, const Options& options, std::string_view canonical);

  Game(const Game& other);
  Game& operator=(const Game& other);
  Game(Game&&) noexcept = default;
  Game& operator=(Game&&) noexcept = default;

  Config config() const { return config_; }
  const Options& options() const { return options_; }
  int ply() const { return static_cast<int>(moves_.size()); }
  const std::vector<Move>& moves() const { return moves_; }

  /// Calls f(const State<B>&) with the state of this game's board.
  template <class F>
  decltype(auto) visit(F&& f) const {
    return std::visit([&](const auto& h) -> decltype(auto) { return f(h->now); }, history_);
  }
  /// The state; B must be the struct of this game's board.
  template <class B>
  const State<B>& state() const {
    return std::get<std::unique_ptr<History<B>>>(history_)->now;
  }

  /// Plays a move. Throws IllegalMoveError where it is not playable.
  void push(Move move);
  /// Plays a move known to be playable.
  void push_unchecked(Move move);
  /// Takes the last ply back and returns it; the game must have one (ply() > 0).
  Move pop();

  std::string text() const;
  /// The position before the first ply.
  std::string start_text() const;
  Game transformed(int g) const;

 private:
  /// Every kStride-th earlier state is kept, so that pop() replays a few plies and a long game stays small.
  static constexpr int kStride = 16;
  template <class B>
  struct History {
    State<B> now;
    std::vector<State<B>> kept;  ///< states before ply 0, kStride, 2 kStride, ..
  };
  using AnyHistory = std::variant<std::unique_ptr<History<Square8>>, std::unique_ptr<History<Square19>>,
                                  std::unique_ptr<History<Hex8>>, std::unique_ptr<History<Hexagonal>>>;

  Game(Config config, const Options& options, AnyHistory history);

  Config config_;
  Options options_;
  AnyHistory history_;
  std::vector<Move> moves_;
};

}  // namespace rr
