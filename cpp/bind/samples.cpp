// Sample arrays of finished games for Python (`ringrift.store.samples`). The GIL is released while they are made.
#include "core/samples.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

#include "arrays.h"
#include "games.h"
#include "rules.h"

using namespace nanobind::literals;

namespace rr {
namespace {

template <class T>
std::span<const T> span_of(const nb::handle array) {
  const auto values = nb::cast<Vector<T>>(array);  // its owner, the caller's, outlives it
  return {values.data(), values.shape(0)};
}

/// (id, seed, start, moves, winner, ranks, early, search): `search` is None or (ply, offsets, policy, root_value, full,
/// surprise), the halves as uint16, `root_value` flat, `surprise` empty where it is not known.
PlayedGame played_game(const nb::handle item, Config config) {
  const auto row = nb::cast<nb::tuple>(item);
  PlayedGame game;
  game.start = nb::cast<const Game*>(row[2]);
  if (game.start == nullptr || game.start->config().board != config.board || game.start->config().seats != config.seats)
    throw RulesError("all games of a shard have one config: " + config_name(config));
  game.id = nb::cast<int64_t>(row[0]);
  game.seed = nb::cast<uint64_t>(row[1]);
  game.moves = span_of<uint32_t>(row[3]);
  const int winner = nb::cast<int>(row[4]);
  const auto ranks = nb::cast<nb::tuple>(row[5]);
  if (winner < 1 || winner > config.seats || ranks.size() != static_cast<size_t>(config.seats))
    throw RulesError("game " + std::to_string(game.id) + " has no winner: only finished games give samples");
  game.winner = static_cast<Seat>(winner - 1);
  for (size_t p = 0; p < ranks.size(); ++p) game.ranks[p] = nb::cast<uint8_t>(ranks[p]);
  game.early = nb::cast<bool>(row[6]);
  if (row[7].is_none()) return game;
  const auto search = nb::cast<nb::tuple>(row[7]);
  game.searched = true;
  game.ply = span_of<int32_t>(search[0]);
  game.offsets = span_of<int32_t>(search[1]);
  game.policy = span_of<uint16_t>(search[2]);
  game.root_value = span_of<uint16_t>(search[3]);
  game.full = span_of<uint8_t>(search[4]);
  game.surprise = span_of<uint16_t>(search[5]);
  const size_t d = game.ply.size();
  if (game.offsets.size() != d + 1 || game.root_value.size() != d * static_cast<size_t>(config.seats) ||
      game.full.size() != d || (!game.surprise.empty() && game.surprise.size() != d) ||
      static_cast<size_t>(game.offsets[d]) != game.policy.size())
    throw RulesError("game " + std::to_string(game.id) + " has search arrays of different lengths");
  return game;
}

template <int N, class T>
NumpyArray<T, N> column(std::vector<T>& values, const std::array<size_t, N>& shape) {
  return to_numpy<T, N>(std::move(values), shape);
}

nb::dict samples(const std::string& name, const nb::list& games, bool symmetries, int threads) {
  const Config config = config_of(name);
  std::vector<PlayedGame> played;
  for (const nb::handle item : games) played.push_back(played_game(item, config));
  if (threads < 1 || threads > 256) throw RulesError("threads: 1 to 256, not " + std::to_string(threads));
  SampleArrays a;
  {
    const nb::gil_scoped_release release;
    a = make_samples(config, played, symmetries, threads);
  }
  const size_t n = a.size(), seats = static_cast<size_t>(config.seats), entries = a.policy_target.size();
  const auto side = static_cast<size_t>(kBoardInfo[static_cast<int>(config.board)].width),
             bytes = (side * side + 7) / 8;
  std::vector<uint8_t> plane_bits;
  size_t kept = 0;
  for (const uint8_t seen : a.seen) {
    plane_bits.push_back(static_cast<uint8_t>(std::bit_width(unsigned{seen})));
    kept += plane_bits.back();
  }
  std::vector<int32_t> offsets{0};
  for (const int32_t length : a.policy_length) offsets.push_back(offsets.back() + length);
  nb::dict out;
  out["plane_bits"] = to_numpy(std::move(plane_bits));
  out["planes_packed"] = column<3>(a.planes_packed, {n, kept, bytes});
  out["globals"] = column<2>(a.globals, {n, size_t{kGlobals}});
  out["policy_offsets"] = to_numpy(std::move(offsets));
  out["policy_address"] = column<2>(a.policy_address, {entries, 2});
  out["policy_target"] = column<1>(a.policy_target, {entries});
  out["policy_weight"] = column<1>(a.policy_weight, {n});
  out["value_target"] = column<2>(a.value_target, {n, seats});
  out["root_value"] = column<2>(a.root_value, {n, seats});
  out["short_term_value"] = column<3>(a.short_term_value, {n, size_t{kHorizonCount}, seats});
  out["surprise"] = column<1>(a.surprise, {n});
  out["rank_target"] = column<2>(a.rank_target, {n, seats});
  out["ownership"] = column<3>(a.ownership, {n, side, side});
  out["territory_share"] = column<2>(a.territory_share, {n, seats});
  out["eliminated_share"] = column<2>(a.eliminated_share, {n, seats});
  out["plies_left"] = column<1>(a.plies_left, {n});
  out["ply"] = column<1>(a.ply, {n});
  out["game_id"] = column<1>(a.game_id, {n});
  out["symmetry"] = column<1>(a.symmetry, {n});
  out["symmetric"] = a.symmetric;
  return out;
}

}  // namespace
}  // namespace rr

void bind_samples(nb::module_& m) {
  using namespace rr;
  m.def("samples", &samples, "config"_a, "games"_a, "symmetries"_a, "threads"_a,
        "Arrays of a shard by name, the halves as uint16, and `symmetric`: samples that keep all symmetries.");
  m.def(
      "decisions",
      [](const Game& start, const Vector<uint32_t>& moves) {
        std::vector<int32_t> plies, lengths;
        {
          const nb::gil_scoped_release release;
          find_decisions(start, {moves.data(), moves.shape(0)}, plies, lengths);
        }
        return std::make_pair(to_numpy(std::move(plies)), to_numpy(std::move(lengths)));
      },
      "start"_a, "moves"_a, "Plies at which something is decided, and the lengths of their playable lists.");
}
