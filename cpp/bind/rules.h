// What the files of the binding share about games.
#pragma once

#include <stdexcept>
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

}  // namespace rr
