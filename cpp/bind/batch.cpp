// Many games of one config, without their history: what environments and random play need. The GIL is released.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "arrays.h"
#include "core/playout.h"
#include "rules.h"

using namespace nb::literals;

namespace rr {
namespace {

class Batch {
 public:
  static std::unique_ptr<Batch> make(Config config, const Options& options, size_t size);
  virtual ~Batch() = default;

  virtual void reset(size_t i) = 0;
  virtual void set(size_t i, const Game& game) = 0;
  virtual std::string text(size_t i) const = 0;
  virtual std::vector<uint8_t> to_move() const = 0;
  virtual std::vector<uint8_t> winners() const = 0;
  virtual std::vector<uint64_t> keys() const = 0;
  /// Playable lists one after the other; list i is [offsets[i], offsets[i + 1]).
  virtual void playable(std::vector<int64_t>& offsets, std::vector<uint32_t>& moves) const = 0;
  virtual void step(const int32_t* choices) = 0;
  virtual void random_playout(const uint64_t* seeds, int threads) = 0;

  size_t checked(int64_t i) const {
    if (i < 0 || static_cast<size_t>(i) >= plies.size()) throw nb::index_error("no such game in the batch");
    return static_cast<size_t>(i);
  }

  std::string config;
  std::vector<int32_t> plies;
  Tally tally;  ///< summed over all calls of random_playout
};

template <class B>
class BatchOf final : public Batch {
 public:
  BatchOf(Config config, const Options& options, size_t size)
      : initial_(make_rules(config.board, config.seats, options)) {
    const std::string start = Game(config, options).text();
    prefix_ = start.substr(0, start.find(';', start.find(';') + 1) + 1);
    states_.assign(size, initial_);
    plies.assign(size, 0);
    this->config = config_name(config);
  }

  void reset(size_t i) override {
    states_[i] = initial_;
    plies[i] = 0;
  }

  void set(size_t i, const Game& game) override {
    game.visit([&]<class C>(const State<C>& s) {
      if constexpr (std::is_same_v<B, C>) {
        if (s.rules == initial_.rules) {
          states_[i] = s;
          plies[i] = game.ply();
          return;
        }
      }
      throw RulesError("a batch holds games of one config and its options: " + config);
    });
  }

  std::string text(size_t i) const override { return prefix_ + canonical(states_[i]) + ';' + turn_text(states_[i]); }

  std::vector<uint8_t> to_move() const override {
    return each<uint8_t>([](const State<B>& s) { return s.over() ? 0 : s.to_move + 1; });
  }
  std::vector<uint8_t> winners() const override {
    return each<uint8_t>([](const State<B>& s) { return s.over() ? s.winner + 1 : 0; });
  }
  std::vector<uint64_t> keys() const override {
    return each<uint64_t>([](const State<B>& s) { return s.key(); });
  }

  void playable(std::vector<int64_t>& offsets, std::vector<uint32_t>& moves) const override {
    std::vector<Move> list;
    offsets.assign(1, 0);
    for (const State<B>& s : states_) {
      generate_playable(s, list);
      for (const Move m : list) moves.push_back(m.bits);
      offsets.push_back(static_cast<int64_t>(moves.size()));
    }
  }

  void step(const int32_t* choices) override {
    std::vector<Move> chosen(states_.size()), list;
    for (size_t i = 0; i < states_.size(); ++i) {
      if (choices[i] == -1) continue;
      generate_playable(states_[i], list);
      if (choices[i] < 0 || choices[i] >= static_cast<int>(list.size()))
        throw IllegalMoveError("game " + std::to_string(i) + " has " + std::to_string(list.size()) +
                               " playable moves, so the choice " + std::to_string(choices[i]) + " is none of them");
      chosen[i] = list[static_cast<size_t>(choices[i])];
    }
    for (size_t i = 0; i < states_.size(); ++i) {
      if (choices[i] == -1) continue;
      apply(states_[i], chosen[i]);
      ++plies[i];
    }
  }

  void random_playout(const uint64_t* seeds, int threads) override {
    std::vector<Tally> found(static_cast<size_t>(threads));
    const auto run = [&](size_t t) {
      Tally mine;  // on the thread's own stack: counters side by side would share a cache line
      for (size_t i = t; i < states_.size(); i += found.size()) {
        const uint64_t before = mine.plies;
        Random random{seeds[i]};
        random_game(states_[i], random, mine);
        plies[i] += static_cast<int32_t>(mine.plies - before);
      }
      found[t] = mine;
    };
    {
      std::vector<std::jthread> pool;
      for (size_t t = 1; t < found.size(); ++t) pool.emplace_back(run, t);
      run(0);
    }
    for (const Tally& t : found) {
      tally.games += t.games;
      tally.plies += t.plies;
      tally.decisions += t.decisions;
      tally.legal += t.legal;
      tally.winners += t.winners;
      tally.keys ^= t.keys;
    }
  }

 private:
  template <class T, class F>
  std::vector<T> each(F&& f) const {
    std::vector<T> out;
    out.reserve(states_.size());
    for (const State<B>& s : states_) out.push_back(static_cast<T>(f(s)));
    return out;
  }

  std::string prefix_;  ///< of every position text: config;options;
  State<B> initial_;
  std::vector<State<B>> states_;
};

std::unique_ptr<Batch> Batch::make(Config config, const Options& options, size_t size) {
  return visit_board(config.board, [&]<class B>() -> std::unique_ptr<Batch> {
    return std::make_unique<BatchOf<B>>(config, options, size);
  });
}

/// The class that Python sees.
struct GameBatch {
  std::unique_ptr<Batch> games;
};

template <class T>
const T* sized(const Vector<T>& values, const Batch& batch, const char* what) {
  if (values.shape(0) != batch.plies.size())
    throw RulesError(std::string(what) + ": one for each of the " + std::to_string(batch.plies.size()) +
                     " games, not " + std::to_string(values.shape(0)));
  return values.data();
}

}  // namespace
}  // namespace rr

void bind_batch(nb::module_& m) {
  using namespace rr;
  const auto release = nb::call_guard<nb::gil_scoped_release>();
  nb::class_<GameBatch>(m, "GameBatch", "Many games in the compiled core; use `ringrift.rules.GameBatch`.")
      .def(
          "__init__",
          [](GameBatch* self, const std::string& config, size_t size, bool swap_rule, int rings, int lps_rounds) {
            new (self) GameBatch{Batch::make(config_of(config), make_options(swap_rule, rings, lps_rounds), size)};
          },
          "config"_a, "size"_a, "swap_rule"_a = false, "rings_per_player"_a = 0, "lps_rounds"_a = 3)
      .def("__len__", [](const GameBatch& b) { return b.games->plies.size(); })
      .def_prop_ro(
          "config", [](const GameBatch& b) { return b.games->config; }, "Name of the config.")
      .def_prop_ro(
          "plies", [](const GameBatch& b) { return to_numpy(b.games->plies); }, nb::rv_policy::automatic,
          "Plies played in each game, int32 [n].")
      .def_prop_ro(
          "to_move", [](const GameBatch& b) { return to_numpy(b.games->to_move()); }, nb::rv_policy::automatic,
          "Seat to move in each game, from 1, 0 where it is over; uint8 [n].")
      .def_prop_ro(
          "winners", [](const GameBatch& b) { return to_numpy(b.games->winners()); }, nb::rv_policy::automatic,
          "Winner of each game, from 1, 0 where it goes on; uint8 [n].")
      .def_prop_ro(
          "keys", [](const GameBatch& b) { return to_numpy(b.games->keys()); }, nb::rv_policy::automatic,
          "Key of each game, uint64 [n].")
      .def_prop_ro(
          "tally",
          [](const GameBatch& b) {
            nb::dict out;
            out["games"] = b.games->tally.games;
            out["plies"] = b.games->tally.plies;
            out["decisions"] = b.games->tally.decisions;
            out["legal"] = b.games->tally.legal;
            out["winners"] = b.games->tally.winners;
            out["keys"] = b.games->tally.keys;
            return out;
          },
          "What all random playouts came across, summed: games, plies, decisions, legal moves, winning seats; "
          "`keys` is the xor of the keys after every ply.")
      .def(
          "reset", [](GameBatch& b, int64_t i) { b.games->reset(b.games->checked(i)); }, "i"_a,
          "Puts game i back to the initial position.")
      .def(
          "set", [](GameBatch& b, int64_t i, const Game& game) { b.games->set(b.games->checked(i), game); }, "i"_a,
          "game"_a, "Puts game i into the position of a game of the same config and options.")
      .def(
          "text", [](const GameBatch& b, int64_t i) { return b.games->text(b.games->checked(i)); }, "i"_a,
          "Position text of game i.")
      .def(
          "playable",
          [](const GameBatch& b) {
            std::vector<int64_t> offsets;
            std::vector<uint32_t> moves;
            {
              const nb::gil_scoped_release free;
              b.games->playable(offsets, moves);
            }
            return std::make_pair(to_numpy(std::move(offsets)), to_numpy(std::move(moves)));
          },
          "Playable lists of all games: (offsets int64 [n + 1], packed moves uint32 [sum]).")
      .def(
          "playable_counts",
          [](const GameBatch& b) {
            std::vector<int64_t> offsets;
            std::vector<uint32_t> moves;
            {
              const nb::gil_scoped_release free;
              b.games->playable(offsets, moves);
            }
            std::vector<int32_t> counts;
            for (size_t i = 1; i < offsets.size(); ++i)
              counts.push_back(static_cast<int32_t>(offsets[i] - offsets[i - 1]));
            return to_numpy(std::move(counts));
          },
          "Playable moves of each game, int32 [n]; 0 where it is over.")
      .def(
          "step",
          [](GameBatch& b, const Vector<int32_t>& choices) { b.games->step(sized(choices, *b.games, "choices")); },
          "choices"_a, release,
          "Plays one ply in each game: an index of its playable list, or -1 to leave it as it is. All or none.")
      .def(
          "random_playout",
          [](GameBatch& b, const Vector<uint64_t>& seeds, int threads) {
            if (threads < 1 || threads > 256) throw RulesError("threads: 1 to 256, not " + std::to_string(threads));
            b.games->random_playout(sized(seeds, *b.games, "seeds"), threads);
          },
          "seeds"_a, "threads"_a = 1, release,
          "Plays every game to its end by uniformly random legal moves, each from its own seed.");
}
