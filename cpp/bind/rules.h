// What the files of the binding share about games.
#pragma once

#include <nanobind/nanobind.h>

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/game.h"

namespace rr {

/// A question that the rules cannot answer. Python sees RulesError.
struct RulesError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// The config of a name. Throws RulesError.
Config config_of(std::string_view name);
Options make_options(bool swap_rule, int rings_per_player, int lps_rounds);

/// Plays (seat or None, JSON) rows from `at` on as far as each tells one playable move of the seat to move; the index of
/// the first that does not. `patterns`: texts of moves by type, with {fields}.
size_t push_recorded(Game& game, const nanobind::list& moves, size_t at,
                     const std::map<std::string, std::string>& patterns);

}  // namespace rr
