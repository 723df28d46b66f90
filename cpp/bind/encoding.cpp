// The encoding tables, feature planes and policy addresses for Python (`ringrift.encoding`).
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <vector>

#include "arrays.h"
#include "core/actions.h"
#include "core/planes.h"
#include "games.h"
#include "rules.h"

using namespace nanobind::literals;

namespace rr {
namespace {

template <class Row, int N>
std::vector<std::tuple<std::string, std::string, int, float>> feature_rows(const Row (&table)[N]) {
  std::vector<std::tuple<std::string, std::string, int, float>> out;
  for (const auto& row : table) {
    float scale = 1.0F;
    if constexpr (requires { row.scale; }) scale = row.scale;
    out.emplace_back(row.name, row.meaning, row.count, scale);
  }
  return out;
}

nb::tuple encode_games(const std::string& name, const nb::sequence& sequence) {
  const Config config = config_of(name);
  const std::vector<const Game*> games = games_of(sequence, config);
  const auto rows = games.size();
  const auto side = static_cast<size_t>(kBoardInfo[static_cast<int>(config.board)].width);
  const size_t cells = size_t{kPlanes} * side * side;
  auto planes = empty_numpy<uint8_t, 4>({rows, size_t{kPlanes}, side, side});
  auto globals = empty_numpy<float, 2>({rows, size_t{kGlobals}});
  uint8_t* p = planes.data();
  float* g = globals.data();
  {
    const nb::gil_scoped_release release;
    visit_board(config.board, [&]<class B>() {
      for (size_t i = 0; i < rows; ++i) encode(games[i]->state<B>(), p + i * cells, g + i * kGlobals);
    });
  }
  return nb::make_tuple(planes, globals);
}

NumpyArray<int32_t, 2> addresses(const Game& game) {
  return game.visit([]<class B>(const State<B>& s) {
    std::vector<Move> moves;
    generate_playable(s, moves);
    std::vector<int32_t> out;
    for (const Move m : moves) {
      const Address a = policy_address<B>(m, s.to_move, s.seats());
      out.insert(out.end(), {a.move, a.extraction});
    }
    return to_numpy<int32_t, 2>(std::move(out), {moves.size(), 2});
  });
}

}  // namespace
}  // namespace rr

void bind_encoding(nb::module_& m) {
  using namespace rr;
  m.def("plane_table", [] { return feature_rows(kPlaneTable); }, "Rows (name, meaning, planes, scale).");
  m.def("global_table", [] { return feature_rows(kGlobalTable); }, "Rows (name, meaning, globals, scale).");
  m.def("policy_table", [] { return feature_rows(kPolicyTable); }, "Rows (name, meaning, planes, 1).");
  m.def("policy_global_table", [] { return feature_rows(kPolicyGlobalTable); }, "Rows (name, meaning, logits, 1).");
  m.def("encoding_hash", &encoding_hash, "16 hex digits over the tables.");
  m.def("encode", &encode_games, "config"_a, "games"_a, "Planes uint8 [B, C, H, W] and globals float32 [B, G].");
  m.def("policy_addresses", &addresses, "game"_a, "Addresses int32 [A, 2] of the playable moves.");
}
