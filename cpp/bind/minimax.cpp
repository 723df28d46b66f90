// The depth-first searches for Python (`ringrift.search.minimax`). The GIL is released while they run.
#include "search/minimax.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arrays.h"
#include "games.h"
#include "rules.h"

using namespace nb::literals;

namespace rr {
namespace {

MinimaxRule rule_of(const std::string& name, int seats) {
  if (name == "alpha-beta") {
    if (seats != 2) throw RulesError("alpha-beta is for 2 seats, not " + std::to_string(seats));
    return MinimaxRule::Paranoid;
  }
  if (name == "paranoid") return MinimaxRule::Paranoid;
  if (name == "maxn") return MinimaxRule::MaxN;
  if (name == "best-reply") return MinimaxRule::BestReply;
  throw RulesError("unknown rule '" + name + "'");
}

/// Searches every state; each thread takes the next one that nobody has begun.
template <class B>
std::vector<MinimaxOutcome> search_all(const std::vector<State<B>>& states, const MinimaxSettings& settings,
                                       const std::vector<uint64_t>& seeds, std::optional<double> seconds,
                                       const std::shared_ptr<Stop>& stop, size_t threads) {
  std::vector<MinimaxOutcome> out(states.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    Minimax<B> search(settings);
    for (size_t i; (i = next++) < states.size();)
      out[i] = search.run(states[i], seeds[i], Until::from_now(seconds, stop));
  };
  std::vector<std::thread> others;
  for (size_t t = 1; t < std::min(threads, states.size()); ++t) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  return out;
}

/// (move, value [P], depth, nodes, line, decided) of each game.
nb::list minimax(const nb::sequence& sequence, const std::vector<uint64_t>& seeds, const std::string& rule,
                 int64_t nodes, int depth, int quiescence, int table, int threads, std::optional<double> seconds,
                 const std::shared_ptr<Stop>& stop) {
  nb::list list;
  if (nb::len(sequence) == 0) return list;
  const Config config = nb::cast<const Game&>(sequence[0]).config();
  const std::vector<const Game*> games = games_of(sequence, config);
  const MinimaxSettings settings{rule_of(rule, config.seats), nodes, depth, quiescence, table};
  const std::vector<MinimaxOutcome> found = games[0]->visit([&]<class B>(const State<B>&) {
    std::vector<State<B>> states;
    for (const Game* game : games) {
      states.push_back(game->state<B>());
      if (states.back().over()) throw RulesError("the game is over: there is nothing to search");
    }
    const nb::gil_scoped_release release;
    return search_all(states, settings, seeds, seconds, stop, static_cast<size_t>(threads));
  });
  for (const MinimaxOutcome& o : found) {
    std::vector<uint32_t> line;
    for (const Move m : o.line) line.push_back(m.bits);
    list.append(nb::make_tuple(o.move.bits,
                               to_numpy(std::vector<float>(o.value.begin(), o.value.begin() + config.seats)), o.depth,
                               o.nodes, std::move(line), o.decided));
  }
  return list;
}

}  // namespace
}  // namespace rr

void bind_minimax(nb::module_& m) {
  nb::class_<rr::Stop>(m, "Stop", "Ends searches before their time: they answer with what they have.")
      .def(nb::init<>())
      .def(
          "set", [](rr::Stop& stop) { stop = true; }, "Ends them, from any thread.")
      .def_prop_ro("is_set", [](const rr::Stop& stop) { return stop.load(); }, "Whether it was.");
  m.def("minimax", &rr::minimax, "games"_a, "seeds"_a, "rule"_a, "nodes"_a, "depth"_a, "quiescence"_a, "table"_a,
        "threads"_a, "seconds"_a.none(), "stop"_a.none(), "(move, value, depth, nodes, line, decided) of each game.");
}
