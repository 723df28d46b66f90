// Games and the tables of the rules for Python. The class `ringrift.rules.Game` extends the one bound here. Calls on
// one game keep the GIL: they take microseconds, and a game belongs to one thread.
#include "rules.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "core/perft.h"

using namespace nb::literals;

namespace rr {
namespace {

NumpyArray<uint32_t> packed(const std::vector<Move>& moves) {
  std::vector<uint32_t> bits(moves.size());
  std::transform(moves.begin(), moves.end(), bits.begin(), [](Move m) { return m.bits; });
  return to_numpy(std::move(bits));
}

template <class B>
std::vector<Move> listed(const State<B>& s, bool all_playable) {
  std::vector<Move> moves;
  if (all_playable) {
    generate_playable(s, moves);
  } else {
    MoveList list;
    generate(s, list);
    moves.assign(list.begin(), list.end());
  }
  return moves;
}

/// Texts of the legal list or of the playable list, in the order of the list.
std::vector<std::string> texts(const Game& game, bool all_playable) {
  return game.visit([&](const auto& s) {
    std::vector<std::string> out;
    for (const Move m : listed(s, all_playable)) out.push_back(move_text(s, m));
    return out;
  });
}

/// Texts of the plies played.
std::vector<std::string> played_texts(const Game& game) {
  Game replay = Game::from_text(game.start_text());
  std::vector<std::string> out;
  for (const Move m : game.moves()) {
    out.push_back(replay.visit([&](const auto& s) { return move_text(s, m); }));
    replay.push_unchecked(m);
  }
  return out;
}

std::vector<std::string> refused_moves(const Game& game) {
  return game.visit([](const auto& s) {
    MoveList list;
    generate_refused(s, list);
    std::vector<std::string> texts;
    for (const Move m : list) texts.push_back(move_text(s, m));
    std::sort(texts.begin(), texts.end());
    return texts;
  });
}

std::vector<std::string> extraction_cells(const Game& game, uint32_t bits) {
  return game.visit([&]<class B>(const State<B>& s) {
    std::vector<std::string> out;
    std::vector<Cell> cells;
    if (!s.over() && Move{bits}.costs_ring()) extractions(s, cells);
    for (const Cell c : cells) out.push_back(cell_text<B>(c));
    return out;
  });
}

/// The text of a packed move; a number that is not a legal or playable move here might point off the board.
std::string text_of(const Game& game, uint32_t bits) {
  return game.visit([&](const auto& s) {
    const Move move{bits};
    const std::vector<Move> list = listed(s, false);
    if (std::find(list.begin(), list.end(), move) == list.end() && !is_playable(s, move))
      throw IllegalMoveError("no legal move of this position has the number " + std::to_string(bits));
    return move_text(s, move);
  });
}

using Result = std::tuple<int, std::string, std::string, std::vector<int>>;

/// Winner, reason, detail and ranks of a finished game; nothing before.
std::optional<Result> result(const Game& game) {
  return game.visit([](const auto& s) -> std::optional<Result> {
    if (!s.over()) return std::nullopt;
    const auto by_seat = ranks(s);
    return Result{s.winner + 1, std::string(reason_name(s.reason)), std::string(detail_name(s.detail)),
                  std::vector<int>(by_seat.begin(), by_seat.begin() + s.seats())};
  });
}

using Score = std::tuple<int, int, int, int, int, int>;

std::vector<Score> scores(const Game& game) {
  return game.visit([](const auto& s) {
    std::vector<Score> rows;
    for (int i = 0; i < s.seats(); ++i)
      rows.emplace_back(s.hand[i], s.eliminated[i], s.collapsed[i], s.rings_on_board[i], s.stacks[i], s.markers[i]);
    return rows;
  });
}

uint32_t push_text(Game& game, std::string_view text) {
  const Move move = game.visit([&](const auto& s) { return parse_move(s, text); });
  game.push_unchecked(move);
  return move.bits;
}

/// Plays a move of the list; one that is not playable as it stands is read as text, which fills in a lone stack that
/// can pay, or says what is wrong.
void push_move(Game& game, uint32_t bits, std::string_view text) {
  const Move move{bits};
  const bool known = game.visit([&](const auto& s) { return is_playable(s, move) && move_text(s, move) == text; });
  if (known)
    game.push_unchecked(move);
  else
    push_text(game, text);
}

void push_all(Game& game, const Vector<uint32_t>& moves) {
  for (size_t i = 0; i < moves.shape(0); ++i) {
    try {
      game.push(Move{moves.data()[i]});
    } catch (const IllegalMoveError&) {
      throw IllegalMoveError("the move of ply " + std::to_string(i) + " is not legal there");
    }
  }
}

uint32_t pop(Game& game) {
  if (game.ply() == 0) throw RulesError("no ply was made from this position, so none can be taken back");
  return game.pop().bits;
}

int checked_symmetry(const Game& game, int g) {
  return game.visit([&]<class B>(const State<B>&) {
    if (g < 0 || g >= kSymmetries<B>)
      throw RulesError("this board has the symmetries 0 to " + std::to_string(kSymmetries<B> - 1) + ", not " +
                       std::to_string(g));
    return g;
  });
}

/// Tables of one config: what does not change from ply to ply.
nb::dict describe(const std::string& name) {
  const Config config = config_of(name);
  const BoardInfo& board = kBoardInfo[static_cast<int>(config.board)];
  const Rules rules = make_rules(config.board, config.seats, Options{});
  nb::dict out;
  out["name"] = name;
  out["board"] = std::string(board.name);
  out["players"] = config.seats;
  out["cells"] = board.cells;
  out["rings_per_player"] = rules.rings;
  out["victory_threshold"] = rules.victory_threshold;
  out["territory_minimum"] = rules.territory_minimum;
  out["line_length"] = rules.line_length;
  out["height"] = board.width;
  out["width"] = board.width;
  return out;
}

template <class E>
void raise_as(const std::exception_ptr& p, void* name) {
  try {
    std::rethrow_exception(p);
  } catch (const E& e) {
    const nb::object type = nb::module_::import_("ringrift.errors").attr(static_cast<const char*>(name));
    PyErr_SetString(type.ptr(), e.what());
  }
}

template <class E>
void translate(const char* name) {
  nb::register_exception_translator(raise_as<E>, const_cast<char*>(name));
}

}  // namespace

Config config_of(std::string_view name) {
  if (const auto config = parse_config(name)) return *config;
  throw RulesError("unknown config '" + std::string(name) + "'");
}

Options make_options(bool swap_rule, int rings_per_player, int lps_rounds) {
  if (rings_per_player < 0 || rings_per_player > kMaxRingsPerPlayer || lps_rounds < 1 || lps_rounds > 255)
    throw RulesError("rings per player: 0 (the default) to " + std::to_string(kMaxRingsPerPlayer) +
                     "; rounds of the last player standing: 1 to 255");
  return Options{swap_rule, static_cast<uint16_t>(rings_per_player), static_cast<uint8_t>(lps_rounds)};
}

}  // namespace rr

void bind_rules(nb::module_& m) {
  using namespace rr;
  translate<NotationError>("InvalidNotation");
  translate<IllegalMoveError>("IllegalMove");
  translate<RulesError>("RulesError");

  m.def("describe", &describe, "config"_a, "Numbers of a config: ConfigInfo's fields by name.");
  m.def(
      "config_names",
      [] {
        std::vector<std::string> names;
        std::vector<int> boards(kBoards);
        std::iota(boards.begin(), boards.end(), 0);
        std::ranges::sort(boards, {}, [](int board) { return kBoardInfo[board].width; });
        for (const int board : boards)
          for (int seats = 2; seats <= kMaxSeats; ++seats)
            names.push_back(config_name({static_cast<BoardId>(board), seats}));
        return names;
      },
      "The names of the twelve configs, small boards first.");

  nb::class_<Game>(m, "Game", "A game in the compiled core; use `ringrift.rules.Game`.")
      .def(
          "__init__",
          [](Game* self, const std::string& config, bool swap_rule, int rings, int lps_rounds) {
            new (self) Game(config_of(config), make_options(swap_rule, rings, lps_rounds));
          },
          "config"_a, "swap_rule"_a = false, "rings_per_player"_a = 0, "lps_rounds"_a = 3)
      .def(nb::init<const Game&>(), "other"_a)
      .def(
          "_assign", [](Game& self, const Game& other) { self = other; }, "other"_a, "Becomes a copy of another game.")
      .def_static(
          "_from_text", [](std::string_view text) { return Game::from_text(text); }, "text"_a)
      .def_static(
          "_from_canonical",
          [](const std::string& config, bool swap_rule, int rings, int lps_rounds, std::string_view canonical) {
            return Game::from_canonical(config_of(config), make_options(swap_rule, rings, lps_rounds), canonical);
          },
          "config"_a, "swap_rule"_a, "rings_per_player"_a, "lps_rounds"_a, "canonical"_a)
      .def_prop_ro(
          "config", [](const Game& g) { return config_name(g.config()); }, "Name of the config.")
      .def_prop_ro("_options",
                   [](const Game& g) {
                     const Options& o = g.options();
                     return std::make_tuple(o.swap_rule, int{o.rings_per_player}, int{o.lps_rounds});
                   })
      .def_prop_ro(
          "num_seats", [](const Game& g) { return g.config().seats; }, "Seats of the config.")
      .def_prop_ro(
          "to_move", [](const Game& g) { return g.visit([](const auto& s) { return s.over() ? 0 : s.to_move + 1; }); },
          "Seat to move, from 1; 0 when the game is over.")
      .def_prop_ro("_phase",
                   [](const Game& g) { return g.visit([](const auto& s) { return static_cast<int>(s.phase); }); })
      .def_prop_ro(
          "is_over", [](const Game& g) { return g.visit([](const auto& s) { return s.over(); }); },
          "True when the game has ended.")
      .def_prop_ro("ply", &Game::ply, "Plies played since the game was set up.")
      .def_prop_ro(
          "key", [](const Game& g) { return g.visit([](const auto& s) { return s.key(); }); },
          "64-bit key of everything that decides the future of the game.")
      .def(
          "recomputed_key", [](const Game& g) { return g.visit([](const auto& s) { return recomputed_key(s); }); },
          "The key computed afresh from the board.")
      .def(
          "legal_packed", [](const Game& g) { return g.visit([](const auto& s) { return packed(listed(s, false)); }); },
          "The legal moves as 32-bit numbers, `int(move)`, in the order of `legal_moves`: uint32 [A].")
      .def(
          "playable_packed",
          [](const Game& g) { return g.visit([](const auto& s) { return packed(listed(s, true)); }); },
          "Those of `playable_moves()`: uint32 [A].")
      .def("move_texts", &texts, "playable"_a, "Texts of the legal moves, or of the playable ones alone.")
      .def("played_texts", &played_texts, "Texts of the plies played.")
      .def("refused_moves", &refused_moves,
           "Texts of the recovery slides that are listed by the game's own engine "
           "and refused when played, sorted.")
      .def("_extractions", &extraction_cells, "move"_a)
      .def("_text_of", &text_of, "move"_a)
      .def(
          "parse_packed",
          [](const Game& g, std::string_view text) {
            return g.visit([&](const auto& s) { return parse_move(s, text).bits; });
          },
          "text"_a, "The legal move that a text means, packed. Raises InvalidNotation or IllegalMove.")
      .def("_push_move", &push_move, "bits"_a, "text"_a)
      .def("push_text", &push_text, "text"_a, "Plays the legal move that a text means; that move, packed.")
      .def(
          "push_packed", [](Game& g, uint32_t bits) { g.push(Move{bits}); }, "move"_a,
          "Plays one of `playable_packed()`. Raises IllegalMove where it is none.")
      .def("push_all_packed", &push_all, "moves"_a,
           "Plays packed moves, uint32 [plies]. Raises IllegalMove naming the ply.")
      .def("pop_packed", &pop, "Takes back the last ply; that ply, packed.")
      .def(
          "moves_packed", [](const Game& g) { return packed(g.moves()); }, "The plies played, packed.")
      .def("_result", &result)
      .def("_scores", &scores)
      .def_prop_ro(
          "lps", [](const Game& g) { return g.visit([](const auto& s) { return lps_text(s.lps); }); },
          "Last-player-standing tracker: round,first,exclusive,count,mask (see docs/formats.md).")
      .def(
          "canonical", [](const Game& g) { return g.visit([](const auto& s) { return canonical(s); }); },
          "The canonical state string: ten fields joined with semicolons.")
      .def("text", &Game::text, "The position text: config;options;canonical fields;turn fields.")
      .def("start_text", &Game::start_text, "The position text before the first ply.")
      .def(
          "_transform", [](const Game& g, int symmetry) { return g.transformed(checked_symmetry(g, symmetry)); },
          "symmetry"_a)
      .def(
          "_transform_move",
          [](const Game& g, uint32_t bits, int symmetry) {
            checked_symmetry(g, symmetry);
            return g.visit([&](const auto& s) {
              if (!is_playable(s, Move{bits})) throw IllegalMoveError("only a playable move can be transformed");
              return transform_move(s, Move{bits}, symmetry).bits;
            });
          },
          "move"_a, "symmetry"_a)
      .def(
          "symmetry_holds",
          [](const Game& g, int symmetry, const std::optional<Vector<uint32_t>>& wanted) {
            checked_symmetry(g, symmetry);
            return g.visit([&](const auto& s) {
              std::vector<Move> moves = listed(s, true);
              if (wanted)
                std::erase_if(moves, [&](Move m) {
                  const uint32_t* end = wanted->data() + wanted->shape(0);
                  return std::find(wanted->data(), end, m.bits) == end;
                });
              return symmetry_holds(s, symmetry, moves);
            });
          },
          "symmetry"_a, "moves"_a = nb::none(),
          "True if a symmetry maps the playable list and the successors of all playable moves, or of those of the "
          "packed `moves`, exactly: some quirks of the rules break some symmetries in some positions.")
      .def("_violation", [](const Game& g) { return g.visit([](const auto& s) { return check_invariants(s); }); })
      .def(
          "perft", [](const Game& g, int depth) { return g.visit([&](const auto& s) { return perft(s, depth); }); },
          "depth"_a, nb::call_guard<nb::gil_scoped_release>(),
          "Number of sequences of `depth` playable moves from here.");
}
