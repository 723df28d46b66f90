#include "pool.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "core/apply.h"
#include "core/planes.h"
#include "local.h"
#include "random.h"

namespace rr {
namespace {

template <class B>
BatchShape shape_of(int seats) {
  return {kPlanes, kGlobals, B::kWidth, kPolicyLength<B>, seats};
}

int full_budget(const PoolSettings& settings) {
  return std::visit([](const auto& s) { return s.simulations; }, settings.search);
}

/// The numbers drawn for one decision of a game. Its seed is mixed, so that neighbouring games share none.
Draws draws_of(uint64_t game_seed, int decision) { return Draws(mix(game_seed) + static_cast<uint64_t>(decision)); }

/// Reads the answers for a batch of searches and writes the leaves of the next one.
template <class B>
class LeafBatch {
 public:
  explicit LeafBatch(bool heuristic) : heuristic_(heuristic) {}
  void clear() { waiting_.clear(); }
  int size() const { return static_cast<int>(waiting_.size()); }

  /// Takes leaves of a search while there are any and room for them.
  void take(TreeSearch<B>& search, uint8_t* planes, float* globals, int capacity, const Until& until = {}) {
    while (heuristic_ || size() < capacity) {
      const int leaf = search.next_leaf();
      if (leaf < 0) return;
      if (heuristic_) {
        answer_by_heuristic(search, leaf);
        if (until.reached()) search.stop();
        continue;
      }
      const auto row = waiting_.size();
      encode(search.state(leaf), planes + row * kPlanes * B::kSlots, globals + row * kGlobals);
      waiting_.push_back({&search, leaf});
    }
  }
  void feed(const float* logits, const float* values, int seats) {
    for (size_t row = 0; row < waiting_.size(); ++row)
      waiting_[row].search->feed(waiting_[row].leaf, logits + row * kPolicyLength<B>,
                                 values + row * static_cast<size_t>(seats));
    waiting_.clear();
  }

 private:
  struct Waiting {
    TreeSearch<B>* search;
    int leaf;
  };
  bool heuristic_;
  std::vector<Waiting> waiting_;
};

template <class B>
class SearchPoolOf final : public SearchPool {
 public:
  SearchPoolOf(int seats, const PoolSettings& settings)
      : seats_(seats), settings_(settings), shared_(settings.cache_bytes), batch_(settings.heuristic) {}

  int add(const Game& game, uint64_t seed, int simulations) override {
    if (used_ == searches_.size()) searches_.push_back(TreeSearch<B>::make(settings_.search, shared_));
    if (simulations == 0) simulations = full_budget(settings_);
    searches_[used_]->start(game.state<B>(), seed, simulations, true, settings_.reuse);
    active_.push_back(static_cast<int>(used_));
    return static_cast<int>(used_++);
  }
  void clear() override {
    stop();
    used_ = 0;
    active_.clear();
    until_ = {};
  }
  void set_until(const Until& until) override { until_ = until; }
  void stop() override {
    batch_.clear();
    for (const int index : active_) searches_[static_cast<size_t>(index)]->stop();
  }

  int collect(uint8_t* planes, float* globals, int capacity) override {
    batch_.clear();
    size_t kept = 0, served = 0;
    for (const int index : active_) {
      auto& search = *searches_[static_cast<size_t>(index)];
      if (settings_.heuristic || batch_.size() < capacity) {
        batch_.take(search, planes, globals, capacity, until_);
        if (search.done()) continue;
        ++served;
      }
      active_[kept++] = index;
    }
    active_.resize(kept);
    // Without a deadline the first ones come to their end first, so that few trees are in the processor's caches at a
    // time; with one, those that had to wait go first the next time.
    if (until_.timed() && served < kept)
      std::rotate(active_.begin(), active_.begin() + static_cast<std::ptrdiff_t>(served), active_.end());
    return batch_.size();
  }
  void feed(const float* logits, const float* values) override { batch_.feed(logits, values, seats_); }
  int pending() const override { return batch_.size(); }
  BatchShape shape() const override { return shape_of<B>(seats_); }

  SearchOutcome outcome(int index) const override {
    const auto& search = finished(index);
    SearchOutcome out;
    const auto size = static_cast<size_t>(search.moves());
    std::vector<Move> moves(size);
    out.visits.resize(size);
    search.root_moves(moves.data(), out.visits.data());
    for (const Move m : moves) out.moves.push_back(m.bits);
    out.choice = search.choice();
    out.policy.resize(size);
    search.policy(out.policy.data());
    out.root_value = search.root_value();
    out.counts = search.counts();
    return out;
  }

  std::vector<TreeNode> tree(int index) const override {
    const auto& search = finished(index);
    std::vector<TreeNode> out;
    for (const auto& n : search.nodes()) {
      TreeNode t{n.parent, 0, n.plies, n.to_move, n.terminal, 0, 0.0F, 1.0F, n.value};
      if (n.parent >= 0) {
        const auto& parent = search.nodes()[static_cast<size_t>(n.parent)];
        const auto& visits = search.visits(parent, n.edge);
        t.move = search.edge(parent, n.edge).move.bits;
        t.prior = search.edge(parent, n.edge).prior;
        t.visits = visits.count;
        t.sum = visits.value;
      }
      out.push_back(t);
    }
    return out;
  }

 private:
  const TreeSearch<B>& finished(int index) const {
    if (index < 0 || static_cast<size_t>(index) >= used_)
      throw std::out_of_range("there is no search " + std::to_string(index));
    const auto& search = *searches_[static_cast<size_t>(index)];
    if (!search.done()) throw std::logic_error("search " + std::to_string(index) + " has not finished");
    return search;
  }

  int seats_;
  PoolSettings settings_;
  SearchShared shared_;
  std::vector<std::unique_ptr<TreeSearch<B>>> searches_;
  size_t used_ = 0;  ///< searches since clear()
  std::vector<int> active_;
  Until until_;
  LeafBatch<B> batch_;
};

template <class B>
class SelfplayPoolOf final : public SelfplayPool {
 public:
  SelfplayPoolOf(int seats, const PoolSettings& settings, const SelfplayOptions& options)
      : seats_(seats),
        settings_(settings),
        options_(options),
        shared_(settings.cache_bytes),
        batch_(settings.heuristic) {
    for (int i = 0; i < std::max(1, options.slots); ++i)
      slots_.emplace_back().search = TreeSearch<B>::make(settings.search, shared_);
  }

  int add(const Game& game, uint64_t seed) override {
    queue_.push_back({game.state<B>(), seed, added_});
    return added_++;
  }

  int collect(uint8_t* planes, float* globals, int capacity) override {
    batch_.clear();
    // The first slots go first every time, so that few trees are in the processor's caches at a time.
    for (Slot& slot : slots_) {
      if (!settings_.heuristic && batch_.size() == capacity) break;
      advance(slot, planes, globals, capacity);
    }
    return batch_.size();
  }
  void feed(const float* logits, const float* values) override { batch_.feed(logits, values, seats_); }
  int pending() const override { return batch_.size(); }
  BatchShape shape() const override { return shape_of<B>(seats_); }

  std::vector<FinishedGame> finished() override { return std::exchange(finished_, {}); }
  int waiting() const override { return static_cast<int>(queue_.size()); }
  int playing() const override {
    return static_cast<int>(std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.playing; }));
  }

 private:
  struct Queued {
    State<B> state;
    uint64_t seed;
    int index;
  };
  struct Slot {
    std::unique_ptr<TreeSearch<B>> search;
    bool playing = false;
    bool full = true;   ///< the budget of the search under way
    int decisions = 0;  ///< searched before
    int leader = -1;    ///< seat whose root value has been above decided_value ..
    int led = 0;        ///< .. for so many decisions
    uint64_t seed = 0;
    State<B> state;
    FinishedGame game;
  };

  /// Brings the slot to leaves that must be evaluated, or to its last game's end with the queue empty. With leaves judged
  /// here it stops at the end of a game, so that games can be handed over.
  void advance(Slot& slot, uint8_t* planes, float* globals, int capacity) {
    for (;;) {
      if (!slot.playing) {
        if (queue_.empty()) return;
        const Queued& next = queue_.front();
        slot.state = next.state;
        slot.seed = next.seed;
        slot.game = {};
        slot.game.index = next.index;
        slot.game.offsets.push_back(0);
        queue_.pop_front();
        slot.playing = true;
        slot.decisions = slot.led = 0;
        slot.leader = -1;
        next_decision(slot);
      }
      while (slot.playing) {
        batch_.take(*slot.search, planes, globals, capacity);
        if (!slot.search->done()) return;
        decide(slot);
        next_decision(slot);
      }
      if (settings_.heuristic) return;
    }
  }

  void play(Slot& slot, Move m) {
    apply(slot.state, m);
    slot.game.moves.push_back(m.bits);
  }

  /// Plays what has no choice, then begins the next search or ends the game.
  void next_decision(Slot& slot) {
    while (!slot.state.over()) {
      generate_playable(slot.state, playable_);
      if (playable_.size() > 1) return begin_search(slot);
      play(slot, playable_[0]);
    }
    slot.game.winner = slot.state.winner;
    finished_.push_back(std::move(slot.game));
    slot.playing = false;
  }

  void begin_search(Slot& slot) {
    Draws draws = draws_of(slot.seed, slot.decisions);
    const uint64_t seed = draws.next();
    draws.next();  // that one draws the move
    int simulations = full_budget(settings_);
    slot.full = true;
    if (options_.decided_simulations > 0 && slot.led >= options_.decided_after) {
      slot.full = false;
      simulations = options_.decided_simulations;
    } else if (options_.full_share < 1.0F && draws.uniform() >= static_cast<double>(options_.full_share)) {
      slot.full = false;
      simulations = options_.cheap_simulations;
    }
    slot.search->start(slot.state, seed, simulations, slot.full, settings_.reuse && slot.decisions > 0);
  }

  /// Index of a move drawn from `policy_` to the power 1 / temperature.
  int draw(double lot, float temperature) {
    const float most = *std::max_element(policy_.begin(), policy_.end());
    double sum = 0.0;
    for (float& p : policy_) sum += p = std::pow(p / most, 1.0F / temperature);
    lot *= sum;
    int choice = 0;
    for (size_t i = 0; i < policy_.size(); ++i) {
      lot -= static_cast<double>(policy_[i]);
      if (policy_[i] > 0.0F) choice = static_cast<int>(i);
      if (lot < 0.0) break;
    }
    return choice;
  }

  /// Records the finished search and plays its move.
  void decide(Slot& slot) {
    const TreeSearch<B>& search = *slot.search;
    const auto decision = static_cast<size_t>(slot.decisions);
    const float temperature = decision < options_.temperatures.size() ? options_.temperatures[decision] : 0.0F;
    const SeatValues value = search.root_value();
    FinishedGame& g = slot.game;
    policy_.resize(static_cast<size_t>(search.moves()));
    if (options_.keep_search || temperature > 0.0F) search.policy(policy_.data());
    if (options_.keep_search) {
      g.ply.push_back(static_cast<int32_t>(g.moves.size()));
      g.policy.insert(g.policy.end(), policy_.begin(), policy_.end());
      g.offsets.push_back(static_cast<int32_t>(g.policy.size()));
      g.root_value.insert(g.root_value.end(), value.begin(), value.begin() + seats_);
      g.full.push_back(slot.full);
      g.surprise.push_back(search.surprise(policy_.data()));
    }
    int choice = search.choice();
    if (temperature > 0.0F) {
      Draws draws = draws_of(slot.seed, slot.decisions);
      draws.next();  // that one went into the search
      choice = draw(draws.uniform(), temperature);
    }
    const int leader = static_cast<int>(std::max_element(value.begin(), value.end()) - value.begin());
    const bool leads = value[static_cast<size_t>(leader)] > options_.decided_value;
    slot.led = !leads ? 0 : leader == slot.leader ? slot.led + 1 : 1;
    slot.leader = leads ? leader : -1;
    g.simulations += search.counts().simulations;
    g.evaluations += search.counts().evaluations;
    g.cached += search.counts().cached;
    ++slot.decisions;
    play(slot, search.move(choice));
  }

  int seats_;
  PoolSettings settings_;
  SelfplayOptions options_;
  SearchShared shared_;
  std::deque<Queued> queue_;
  std::deque<Slot> slots_;
  int added_ = 0;
  std::vector<FinishedGame> finished_;
  std::vector<Move> playable_;
  std::vector<float> policy_;
  LeafBatch<B> batch_;
};

}  // namespace

uint64_t decision_seed(uint64_t game_seed, int decision) { return draws_of(game_seed, decision).next(); }

BatchShape batch_shape(Config config) {
  return visit_board(config.board, [&]<class B>() { return shape_of<B>(config.seats); });
}

std::unique_ptr<SearchPool> SearchPool::make(Config config, const PoolSettings& settings) {
  return visit_board(config.board, [&]<class B>() -> std::unique_ptr<SearchPool> {
    return std::make_unique<SearchPoolOf<B>>(config.seats, settings);
  });
}

std::unique_ptr<SelfplayPool> SelfplayPool::make(Config config, const PoolSettings& settings,
                                                 const SelfplayOptions& options) {
  return visit_board(config.board, [&]<class B>() -> std::unique_ptr<SelfplayPool> {
    return std::make_unique<SelfplayPoolOf<B>>(config.seats, settings, options);
  });
}

}  // namespace rr
