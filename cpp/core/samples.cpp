#include "samples.h"

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "actions.h"
#include "half.h"
#include "playout.h"

namespace rr {
namespace {

constexpr size_t kBlock = 8;  ///< games that a thread takes at a time

[[noreturn]] void illegal(size_t ply) {
  throw IllegalMoveError("the move of ply " + std::to_string(ply) + " is not legal there");
}

template <class T, class V>
void append(std::vector<T>& to, const V& from) {
  to.insert(to.end(), std::begin(from), std::end(from));
}

/// Makes the samples of one game after the other.
template <class B>
class Sampler {
 public:
  Sampler(int seats, bool symmetries, SampleArrays& out) : seats_(seats), symmetries_(symmetries), out_(out) {}

  void add(const PlayedGame& game) {
    find_positions(game);
    look_ahead(game);
    for (size_t d = 0; d < positions_.size(); ++d) add_sample(game, d);
  }

 private:
  using Values = std::array<float, kMaxSeats>;

  /// A decision that becomes a sample.
  struct Position {
    State<B> state;
    size_t ply;
    size_t first;  ///< of its playable moves in `moves_`
    size_t size;
    size_t played;  ///< index of the move played
  };

  size_t seats() const { return static_cast<size_t>(seats_); }

  /// Replays the game and keeps the positions that become samples.
  void find_positions(const PlayedGame& game) {
    positions_.clear();
    moves_.clear();
    final_ = game.start->state<B>();
    size_t next = 0;  // of the searched decisions
    for (size_t ply = 0; ply < game.moves.size(); ++ply) {
      const Move move{game.moves[ply]};
      const bool wanted = !game.searched || (next < game.ply.size() && static_cast<size_t>(game.ply[next]) == ply);
      if (!wanted) {
        if (!is_playable(final_, move)) illegal(ply);
      } else {
        generate_playable(final_, playable_);
        const auto played = std::find(playable_.begin(), playable_.end(), move);
        if (played == playable_.end()) illegal(ply);
        if (game.searched) check_length(game, next++, ply);
        if (playable_.size() > 1) {
          positions_.push_back(
              {final_, ply, moves_.size(), playable_.size(), static_cast<size_t>(played - playable_.begin())});
          append(moves_, playable_);
        }
      }
      apply(final_, move);
    }
    if (!final_.over() && !game.early) throw std::invalid_argument("it is not over after its last ply");
    if (game.searched && next != game.ply.size())
      throw std::invalid_argument("its searches are not in the order of its plies");
  }

  void check_length(const PlayedGame& game, size_t decision, size_t ply) const {
    const int length = game.offsets[decision + 1] - game.offsets[decision];
    if (playable_.size() < 2 || static_cast<size_t>(length) != playable_.size())
      throw std::invalid_argument("ply " + std::to_string(ply) + " has " + std::to_string(playable_.size()) +
                                  " playable moves and a policy over " + std::to_string(length));
  }

  /// The short-term values of all decisions, by absolute seat.
  void look_ahead(const PlayedGame& game) {
    for (int h = 0; h < kHorizonCount; ++h) {
      auto& ahead = ahead_[static_cast<size_t>(h)];
      ahead.assign(positions_.size(), {});
      std::array<double, kMaxSeats> now{};
      now[game.winner] = 1.0;
      for (size_t d = positions_.size(); d-- > 0;)
        for (size_t p = 0; p < seats(); ++p) {
          ahead[d][p] = static_cast<float>(now[p]);
          if (game.searched)
            now[p] += (static_cast<double>(from_half(game.root_value[d * seats() + p])) - now[p]) / kHorizons[h];
        }
    }
  }

  /// Draws the symmetry that a position is shown under; `image_`, `shown_` and `order_` are then those under it.
  int choose_symmetry(const PlayedGame& game, const Position& at) {
    if (symmetries_) {
      Random random{mix(game.seed + at.ply)};
      std::array<int, kSymmetries<B>> order;
      for (int g = 0; g < kSymmetries<B>; ++g) order[static_cast<size_t>(g)] = g;
      for (size_t i = 0;; ++i) {
        std::swap(order[i], order[i + random.below(static_cast<uint32_t>(kSymmetries<B> - i))]);
        if (order[i] == 0) break;
        if (holds(at, order[i])) return order[i];
      }
    }
    image_ = at.state;
    shown_.assign(list(at), list(at) + at.size);
    order_.resize(at.size);
    for (size_t i = 0; i < at.size; ++i) order_[i] = static_cast<uint32_t>(i);
    return 0;
  }

  const Move* list(const Position& at) const { return moves_.data() + at.first; }

  bool holds(const Position& at, int g) {
    image_ = transform(at.state, g);
    if (!match(at, g)) return false;
    for (size_t i = 0; i < at.size; ++i)
      if (targets_[i] > 0.0F && may_break_symmetry<B>(list(at)[i]) &&
          !successors_correspond(at.state, image_, g, list(at)[i]))
        return false;
    return true;
  }

  /// Finds, for each playable move of the image, the move that it is the image of; false where there is none.
  bool match(const Position& at, int g) {
    generate_playable(image_, shown_);
    if (shown_.size() != at.size) return false;
    const size_t room = std::bit_ceil(2 * at.size);
    const int shift = 32 - std::countr_zero(room);
    const auto place = [&](uint32_t bits) { return static_cast<size_t>(bits * 0x9E3779B1U >> shift); };
    table_.assign(room, {kNone, 0});
    for (size_t i = 0; i < at.size; ++i) {
      const uint32_t bits = transform_move(at.state, list(at)[i], g).bits;
      size_t k = place(bits);
      while (table_[k].bits != kNone) k = (k + 1) & (room - 1);
      table_[k] = {bits, static_cast<uint32_t>(i)};
    }
    order_.clear();
    for (const Move m : shown_) {
      size_t k = place(m.bits);
      while (table_[k].bits != m.bits && table_[k].bits != kNone) k = (k + 1) & (room - 1);
      if (table_[k].bits == kNone) return false;
      order_.push_back(table_[k].index);
    }
    return true;
  }

  /// True if every symmetry holds. Only where the order of the axes or the shape of a region has a say need they be tried.
  bool keeps_all(const Position& at) {
    const State<B>& s = at.state;
    const bool recovery = s.phase == Phase::Movement && s.may_recover(s.to_move);
    if (!recovery && std::none_of(list(at), list(at) + at.size, may_break_symmetry<B>)) return true;
    for (int g = 1; g < kSymmetries<B>; ++g)
      if (!holds(at, g)) return false;
    return true;
  }

  void add_sample(const PlayedGame& game, size_t d) {
    const Position& at = positions_[d];
    const Seat mover = at.state.to_move;
    read_target(game, d);
    out_.symmetric += keeps_all(at);
    const int g = choose_symmetry(game, at);

    constexpr size_t kBytes = size_t{kPackedCells<B>} * static_cast<size_t>(kPlaneStart<B>[kPlanes]);
    const size_t row = out_.size();
    out_.planes_packed.resize((row + 1) * kBytes);
    out_.globals.resize((row + 1) * kGlobals);
    encode_packed(image_, out_.planes_packed.data() + row * kBytes, out_.seen.data(),
                  out_.globals.data() + row * kGlobals);

    out_.policy_length.push_back(static_cast<int32_t>(at.size));
    for (size_t i = 0; i < at.size; ++i) {
      const Address address = policy_address<B>(shown_[i], mover, seats_);
      out_.policy_address.push_back(address.move);
      out_.policy_address.push_back(address.extraction);
      out_.policy_target.push_back(to_half(targets_[order_[i]]));
    }
    out_.policy_weight.push_back(game.searched ? static_cast<float>(game.full[d]) : 1.0F);
    for (size_t k = 0; k < seats(); ++k) {
      const size_t p = (mover + k) % seats();
      const bool won = p == game.winner;
      out_.value_target.push_back(won);
      out_.root_value.push_back(game.searched ? game.root_value[d * seats() + p] : to_half(won));
      out_.rank_target.push_back(game.ranks[p]);
      out_.territory_share.push_back(share(final_.collapsed[p], final_.rules.territory_minimum));
      out_.eliminated_share.push_back(share(final_.eliminated[p], final_.rules.victory_threshold));
    }
    for (const auto& ahead : ahead_)
      for (size_t k = 0; k < seats(); ++k) out_.short_term_value.push_back(to_half(ahead[d][(mover + k) % seats()]));
    out_.surprise.push_back(game.surprise.empty() ? uint16_t{0} : game.surprise[d]);
    out_.ownership.resize((row + 1) * B::kSlots);
    uint8_t* owner = out_.ownership.data() + row * B::kSlots;
    for (int p = 0; p < seats_; ++p)
      final_.territory[p].for_each(
          [&](Cell c) { owner[B::slot(map_cell<B>(c, g))] = static_cast<uint8_t>(1 + (p - mover + seats_) % seats_); });
    out_.plies_left.push_back(static_cast<uint16_t>(game.moves.size() - at.ply));
    out_.ply.push_back(static_cast<uint16_t>(at.ply));
    out_.game_id.push_back(game.id);
    out_.symmetry.push_back(static_cast<uint8_t>(g));
  }

  /// The policy target, over the playable moves in their order.
  void read_target(const PlayedGame& game, size_t d) {
    targets_.assign(positions_[d].size, 0.0F);
    if (!game.searched) {
      targets_[positions_[d].played] = 1.0F;
      return;
    }
    double sum = 0.0;  // exact, and so the same in any order
    for (size_t i = 0; i < targets_.size(); ++i)
      sum += static_cast<double>(targets_[i] = from_half(game.policy[static_cast<size_t>(game.offsets[d]) + i]));
    const float whole = std::max(static_cast<float>(sum), 1e-9F);
    for (float& t : targets_) t /= whole;
  }

  static uint16_t share(int part, int whole) {
    return to_half(std::min(1.0F, static_cast<float>(part) / static_cast<float>(whole)));
  }

  static constexpr uint32_t kNone = ~0U;  ///< no move
  struct Entry {
    uint32_t bits, index;
  };

  int seats_;
  bool symmetries_;
  SampleArrays& out_;
  std::vector<Position> positions_;
  std::vector<Move> moves_;  ///< playable lists of the positions
  State<B> final_;
  std::array<std::vector<Values>, kHorizonCount> ahead_;
  std::vector<Move> playable_;
  std::vector<float> targets_;
  State<B> image_;
  std::vector<Move> shown_;  ///< playable list of the image
  std::vector<uint32_t> order_;
  std::vector<Entry> table_;
};

template <class B>
SampleArrays make(int seats, std::span<const PlayedGame> games, bool symmetries, int threads) {
  const size_t blocks = (games.size() + kBlock - 1) / kBlock;
  std::vector<SampleArrays> made(blocks);
  std::atomic<size_t> next{0};
  std::vector<std::exception_ptr> errors(blocks);
  const auto work = [&] {
    for (size_t b = next++; b < blocks; b = next++) {
      Sampler<B> sampler(seats, symmetries, made[b]);
      const size_t end = std::min(games.size(), (b + 1) * kBlock);
      for (size_t i = b * kBlock; i < end; ++i) {
        const std::string name = "game " + std::to_string(games[i].id) + ": ";
        try {
          sampler.add(games[i]);
        } catch (const IllegalMoveError& error) {
          errors[b] = std::make_exception_ptr(IllegalMoveError(name + error.what()));
        } catch (const std::invalid_argument& error) {
          errors[b] = std::make_exception_ptr(std::invalid_argument(name + error.what()));
        }
        if (errors[b]) return;
      }
    }
  };
  {
    std::vector<std::jthread> pool;
    for (int t = 1; t < threads; ++t) pool.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);

  SampleArrays out;
  for (SampleArrays& part : made) {
    for (size_t p = 0; p < kPlanes; ++p) out.seen[p] = static_cast<uint8_t>(out.seen[p] | part.seen[p]);
    out.symmetric += part.symmetric;
  }
  std::vector<std::pair<size_t, size_t>> kept;  // stretches of bytes of a sample's packed planes
  size_t width = 0;
  for (size_t p = 0; p < kPlanes; ++p) {
    const size_t bytes = static_cast<size_t>(kPackedCells<B> * std::bit_width(unsigned{out.seen[p]}));
    kept.emplace_back(static_cast<size_t>(kPlaneStart<B>[p] * kPackedCells<B>), bytes);
    width += bytes;
  }
  constexpr auto kRow = static_cast<size_t>(kPackedCells<B> * kPlaneStart<B>[kPlanes]);
  const auto reserve = [&](auto member) {
    size_t size = 0;
    for (const SampleArrays& part : made) size += (part.*member).size();
    (out.*member).reserve(size);
  };
  reserve(&SampleArrays::policy_address);
  reserve(&SampleArrays::policy_target);
  reserve(&SampleArrays::ownership);
  for (SampleArrays& part : made) {
    std::vector<uint8_t> packed(part.size() * width);
    uint8_t* to = packed.data();
    for (size_t row = 0; row < part.size(); ++row)
      for (const auto& [first, bytes] : kept)
        to = std::copy_n(part.planes_packed.data() + row * kRow + first, bytes, to);
    part.planes_packed = std::move(packed);
    [&]<size_t... I>(std::index_sequence<I...>, auto all, auto mine) {
      (append(std::get<I>(all), std::get<I>(mine)), ...);
    }(std::make_index_sequence<std::tuple_size_v<decltype(out.columns())>>{}, out.columns(), part.columns());
    part = {};
  }
  return out;
}

}  // namespace

SampleArrays make_samples(Config config, std::span<const PlayedGame> games, bool symmetries, int threads) {
  return visit_board(config.board, [&]<class B>() { return make<B>(config.seats, games, symmetries, threads); });
}

void find_decisions(const Game& start, std::span<const uint32_t> moves, std::vector<int32_t>& plies,
                    std::vector<int32_t>& lengths) {
  start.visit([&](auto state) {
    std::vector<Move> playable;
    for (size_t ply = 0; ply < moves.size(); ++ply) {
      generate_playable(state, playable);
      if (std::find(playable.begin(), playable.end(), Move{moves[ply]}) == playable.end()) illegal(ply);
      if (playable.size() > 1) {
        plies.push_back(static_cast<int32_t>(ply));
        lengths.push_back(static_cast<int32_t>(playable.size()));
      }
      apply(state, Move{moves[ply]});
    }
  });
}

}  // namespace rr
