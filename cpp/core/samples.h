// Finished games as the arrays of a sample shard (docs/formats.md): a sample for each position where something was
// decided, seen through a symmetry of its own.
#pragma once

#include <array>
#include <span>
#include <tuple>
#include <vector>

#include "game.h"
#include "planes.h"

namespace rr {

/// Decisions over which the short-term values reach on average: each further one has 1 - 1/n of the weight.
inline constexpr int kHorizons[] = {6, 20};
inline constexpr int kHorizonCount = 2;

/// A finished game, as its record has it. D decisions were searched; 16-bit numbers are halves (half.h).
struct PlayedGame {
  const Game* start = nullptr;  ///< the position before the first ply
  int64_t id = 0;
  uint64_t seed = 0;  ///< of the choice of symmetries
  std::span<const uint32_t> moves;
  Seat winner = 0;
  std::array<uint8_t, kMaxSeats> ranks{};
  bool early = false;                    ///< it ended within a turn, by the rule of the earlier service
  bool searched = false;                 ///< false: every decision is a sample, and the move played its target
  std::span<const int32_t> ply;          ///< [D]
  std::span<const int32_t> offsets;      ///< [D + 1] into policy
  std::span<const uint16_t> policy;      ///< over the playable lists, one after the other
  std::span<const uint16_t> root_value;  ///< [D, P] by absolute seat
  std::span<const uint8_t> full;         ///< [D]
  std::span<const uint16_t> surprise;    ///< [D], or none
};

/// What a shard holds, row by row; its names are those of docs/formats.md.
struct SampleArrays {
  std::array<uint8_t, kPlanes> seen{};  ///< or of all values of each plane
  std::vector<uint8_t> planes_packed;
  std::vector<float> globals;
  std::vector<int32_t> policy_length;  ///< of each sample
  std::vector<int32_t> policy_address;
  std::vector<uint16_t> policy_target;
  std::vector<float> policy_weight;
  std::vector<float> value_target;
  std::vector<uint16_t> root_value;
  std::vector<uint16_t> short_term_value;
  std::vector<uint16_t> surprise;
  std::vector<uint8_t> rank_target;
  std::vector<uint8_t> ownership;
  std::vector<uint16_t> territory_share;
  std::vector<uint16_t> eliminated_share;
  std::vector<uint16_t> plies_left;
  std::vector<uint16_t> ply;
  std::vector<int64_t> game_id;
  std::vector<uint8_t> symmetry;
  int64_t symmetric = 0;  ///< samples that keep every symmetry of the board

  size_t size() const { return policy_length.size(); }
  auto columns() {
    return std::tie(planes_packed, globals, policy_length, policy_address, policy_target, policy_weight, value_target,
                    root_value, short_term_value, surprise, rank_target, ownership, territory_share, eliminated_share,
                    plies_left, ply, game_id, symmetry);
  }
};

/// The samples of games of one config, in their order; of the planes only the bits that `seen` says are needed. A
/// sample's symmetry is drawn from those that map its playable list, and the successors of the moves with a positive
/// target, exactly. Throws IllegalMoveError for a move that is not legal, std::invalid_argument for a game that is not
/// over or a policy that does not fit its position. Any number of threads gives the same.
SampleArrays make_samples(Config config, std::span<const PlayedGame> games, bool symmetries, int threads);

/// The plies at which something is decided, and the lengths of their playable lists. Throws IllegalMoveError.
void find_decisions(const Game& start, std::span<const uint32_t> moves, std::vector<int32_t>& plies,
                    std::vector<int32_t>& lengths);

}  // namespace rr
