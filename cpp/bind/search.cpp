// Searches and the heuristic for Python (`ringrift.search`). The GIL is released while a pool works.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "core/heuristic.h"
#include "games.h"
#include "rules.h"
#include "search/pool.h"

using namespace nanobind::literals;

namespace rr {
namespace {

using Planes = nb::ndarray<uint8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Answers = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void check(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

const Game& checked_game(const LeafSource& pool, const Game& game, bool may_be_over) {
  const BatchShape shape = pool.shape();
  const BatchShape given = batch_shape(game.config());
  if (given.side != shape.side || given.seats != shape.seats)
    throw RulesError("a game of " + config_name(game.config()) + " does not belong into this pool");
  if (!may_be_over && game.visit([](const auto& s) { return s.over(); }))
    throw RulesError("the game is over: there is nothing to search");
  return game;
}

int collect(LeafSource& pool, Planes planes, Rows globals) {
  const BatchShape shape = pool.shape();
  const auto side = static_cast<size_t>(shape.side);
  check(pool.pending() == 0, "the last batch has not been fed");
  check(planes.shape(1) == static_cast<size_t>(shape.planes) && planes.shape(2) == side && planes.shape(3) == side &&
            globals.shape(1) == static_cast<size_t>(shape.globals) && planes.shape(0) == globals.shape(0) &&
            planes.shape(0) > 0,
        "planes must be [rows, C, H, W] and globals [rows, G] of this config");
  const nb::gil_scoped_release release;
  return pool.collect(planes.data(), globals.data(), static_cast<int>(planes.shape(0)));
}

void feed(LeafSource& pool, Answers logits, Answers values) {
  const BatchShape shape = pool.shape();
  const auto rows = static_cast<size_t>(pool.pending());
  check(logits.shape(0) == rows && values.shape(0) == rows && logits.shape(1) == static_cast<size_t>(shape.policy) &&
            values.shape(1) == static_cast<size_t>(shape.seats),
        "logits must be [rows, L] and values [rows, P], with the rows of the last batch");
  const nb::gil_scoped_release release;
  pool.feed(logits.data(), values.data());
}

NumpyArray<float> seat_array(const SeatValues& values, int seats) {
  return to_numpy(std::vector<float>(values.begin(), values.begin() + seats));
}

nb::tuple outcome(const SearchPool& pool, int index) {
  SearchOutcome o = pool.outcome(index);
  const SearchCounts& c = o.counts;
  return nb::make_tuple(o.choice, to_numpy(std::move(o.moves)), to_numpy(std::move(o.policy)),
                        to_numpy(std::move(o.visits)), seat_array(o.root_value, pool.shape().seats),
                        nb::make_tuple(c.simulations, c.evaluations, c.cached, c.ends));
}

/// Columns of the nodes of a tree, in the order they were made.
nb::dict tree(const SearchPool& pool, int index) {
  const std::vector<TreeNode> nodes = pool.tree(index);
  std::vector<int32_t> parent, plies, to_move, visits;
  std::vector<uint32_t> move;
  std::vector<uint8_t> terminal;
  std::vector<float> sum, prior, value;
  const int seats = pool.shape().seats;
  for (const TreeNode& n : nodes) {
    parent.push_back(n.parent);
    plies.push_back(n.plies);
    to_move.push_back(n.to_move);
    visits.push_back(n.visits);
    move.push_back(n.move);
    terminal.push_back(n.terminal);
    sum.push_back(n.sum);
    prior.push_back(n.prior);
    value.insert(value.end(), n.value.begin(), n.value.begin() + seats);
  }
  nb::dict out;
  out["parent"] = to_numpy(std::move(parent));
  out["move"] = to_numpy(std::move(move));
  out["plies"] = to_numpy(std::move(plies));
  out["to_move"] = to_numpy(std::move(to_move));
  out["terminal"] = to_numpy(std::move(terminal));
  out["visits"] = to_numpy(std::move(visits));
  out["sum"] = to_numpy(std::move(sum));
  out["prior"] = to_numpy(std::move(prior));
  out["value"] = to_numpy<float, 2>(std::move(value), {nodes.size(), static_cast<size_t>(seats)});
  return out;
}

nb::list finished(SelfplayPool& pool) {
  nb::list out;
  const auto seats = static_cast<size_t>(pool.shape().seats);
  for (FinishedGame& g : pool.finished()) {
    const size_t decisions = g.ply.size();
    out.append(nb::make_tuple(
        g.index, g.winner + 1, to_numpy(std::move(g.moves)), to_numpy(std::move(g.ply)), to_numpy(std::move(g.offsets)),
        to_numpy(std::move(g.policy)), to_numpy<float, 2>(std::move(g.root_value), {decisions, seats}),
        to_numpy(std::move(g.full)), to_numpy(std::move(g.surprise)), g.simulations, g.evaluations, g.cached));
  }
  return out;
}

NumpyArray<float> values(const Game& game) {
  return game.visit([](const auto& s) { return seat_array(heuristic_values(s), s.seats()); });
}

NumpyArray<float, 2> features(const Game& game) {
  return game.visit([](const auto& s) {
    std::vector<float> out(static_cast<size_t>(s.seats() * kFeatures));
    for (Seat p = 0; p < s.seats(); ++p) heuristic_features(s, p, out.data() + p * kFeatures);
    return to_numpy<float, 2>(std::move(out), {static_cast<size_t>(s.seats()), static_cast<size_t>(kFeatures)});
  });
}

std::vector<std::tuple<std::string, std::string, std::vector<float>>> heuristic_rows() {
  std::vector<std::tuple<std::string, std::string, std::vector<float>>> out;
  for (const HeuristicRow& row : kHeuristicTable)
    out.emplace_back(row.name, row.meaning, std::vector<float>(row.weight[0], row.weight[0] + 2 * (kMaxSeats - 1)));
  return out;
}

NumpyArray<uint32_t> greedy(const nb::sequence& sequence, const std::vector<uint64_t>& seeds) {
  std::vector<const Game*> games;
  for (const nb::handle item : sequence) games.push_back(&nb::cast<const Game&>(item));
  check(games.size() == seeds.size(), "one seed for each game is needed");
  std::vector<uint32_t> out;
  {
    const nb::gil_scoped_release release;
    std::vector<Move> moves;
    for (size_t i = 0; i < games.size(); ++i)
      games[i]->visit([&](const auto& s) {
        if (s.over()) throw RulesError("the game is over: there is no move");
        generate_playable(s, moves);
        out.push_back(moves[static_cast<size_t>(greedy_move(s, moves, seeds[i]))].bits);
      });
  }
  return to_numpy(std::move(out));
}

}  // namespace
}  // namespace rr

void bind_search(nb::module_& m) {
  using namespace rr;
  nb::class_<GumbelSettings>(m, "GumbelSettings", "Settings of the Gumbel search; see `ringrift.search`.")
      .def(
          "__init__",
          [](GumbelSettings* self, int simulations, int considered, float c_visit, float c_scale, float gumbel_scale) {
            check(simulations >= 1 && considered >= 1, "simulations and considered must be 1 or more");
            new (self) GumbelSettings{simulations, considered, c_visit, c_scale, gumbel_scale};
          },
          "simulations"_a, "considered"_a, "c_visit"_a, "c_scale"_a, "gumbel_scale"_a);
  nb::class_<PuctSettings>(m, "PuctSettings", "Settings of the PUCT search; see `ringrift.search`.")
      .def(
          "__init__",
          [](PuctSettings* self, int simulations, float c_puct, float c_base, float fpu_reduction, float alpha,
             float share, int leaves) {
            check(simulations >= 1 && leaves >= 1 && c_base > 0, "simulations and leaves must be 1 or more");
            new (self) PuctSettings{simulations, c_puct, c_base, fpu_reduction, alpha, share, leaves};
          },
          "simulations"_a, "c_puct"_a, "c_base"_a, "fpu_reduction"_a, "dirichlet_alpha"_a, "dirichlet_share"_a,
          "leaves"_a);
  nb::class_<PoolSettings>(m, "PoolSettings", "A search, and what the searches of a pool have in common.")
      .def(
          "__init__",
          [](PoolSettings* self, const std::variant<GumbelSettings, PuctSettings>& search, bool heuristic, bool reuse,
             size_t cache_bytes) { new (self) PoolSettings{search, heuristic, reuse, cache_bytes}; },
          "search"_a, "heuristic"_a, "reuse"_a, "cache_bytes"_a);

  nb::class_<LeafSource>(m, "LeafSource", "Hands out batches of leaves and takes their values. Belongs to one thread.")
      .def("collect", &collect, "planes"_a.noconvert(), "globals"_a.noconvert(),
           "Fills the next batch and returns its rows; 0 when there is nothing left to do.")
      .def("feed", &feed, "logits"_a, "values"_a, "The evaluator's answer to the last batch.");

  nb::class_<SearchPool, LeafSource>(m, "SearchPool", "Searches of given positions.")
      .def(nb::new_([](const std::string& config, const PoolSettings& settings) {
             return SearchPool::make(config_of(config), settings);
           }),
           "config"_a, "settings"_a)
      .def(
          "add",
          [](SearchPool& p, const Game& g, uint64_t seed, int simulations) {
            check(simulations >= 0, "simulations must be 1 or more, or 0 for those of the settings");
            return p.add(checked_game(p, g, false), seed, simulations);
          },
          "game"_a, "seed"_a, "simulations"_a = 0, "Adds a position that is not over; returns its index.")
      .def("clear", &SearchPool::clear, "Begins anew with index 0, in the memory of before.")
      .def(
          "set_until",
          [](SearchPool& p, std::optional<double> seconds, const std::shared_ptr<Stop>& stop) {
            p.set_until(Until::from_now(seconds, stop));
          },
          "seconds"_a.none(), "stop"_a.none(),
          "Ends searches whose leaves are judged here so many seconds from now, or when they are told to.")
      .def("stop", &SearchPool::stop, "Ends all searches with what they have.")
      .def(
          "outcome", &outcome, "index"_a,
          "(choice, moves, policy, visits, root_value, (simulations, evaluations, cached, ends)) of a finished search.")
      .def("tree", &tree, "index"_a, "The nodes of a finished search by columns.");

  nb::class_<SelfplayPool, LeafSource>(m, "SelfplayPool", "Games that play themselves.")
      .def(nb::new_([](const std::string& config, const PoolSettings& settings, int slots,
                       std::vector<float> temperatures, bool keep_search, float full_share, int cheap_simulations,
                       float decided_value, int decided_after, int decided_simulations) {
             check(full_share >= 1.0F || cheap_simulations >= 1, "cheap searches need simulations");
             return SelfplayPool::make(config_of(config), settings,
                                       {slots, std::move(temperatures), keep_search, full_share, cheap_simulations,
                                        decided_value, decided_after, decided_simulations});
           }),
           "config"_a, "settings"_a, "slots"_a, "temperatures"_a, "keep_search"_a, "full_share"_a,
           "cheap_simulations"_a, "decided_value"_a, "decided_after"_a, "decided_simulations"_a)
      .def(
          "add", [](SelfplayPool& p, const Game& g, uint64_t seed) { return p.add(checked_game(p, g, true), seed); },
          "game"_a, "seed"_a, "Puts a game in the queue; returns its index.")
      .def("finished", &finished,
           "Games that have ended since the last call: (index, winner, moves, ply, offsets, policy, root_value, full, "
           "surprise, simulations, evaluations, cached).")
      .def_prop_ro("waiting", &SelfplayPool::waiting, "Games in the queue.")
      .def_prop_ro("playing", &SelfplayPool::playing, "Games being played.");

  m.def("decision_seed", &decision_seed, "game_seed"_a, "decision"_a,
        "The seed of the search of a game's decision, counted from 0, in self-play.");
  m.def("heuristic_table", &heuristic_rows,
        "Rows (name, meaning, weights for 2, 3 and 4 seats on small boards, then on large ones).");
  m.def("heuristic_values", &values, "game"_a, "Probability of winning float32 [P] by the linear evaluation.");
  m.def("heuristic_features", &features, "game"_a, "Features float32 [P, F] of every seat.");
  m.def("greedy", &greedy, "games"_a, "seeds"_a, "The best move of each game by the linear evaluation, packed.");
}
