#include "pool.h"

#include <algorithm>
#include <stdexcept>

#include "core/apply.h"
#include "core/planes.h"
#include "random.h"

namespace rr {
namespace {

template <class B>
BatchShape shape_of(int seats) {
  return {kPlanes, kGlobals, B::kWidth, kPolicyLength<B>, seats};
}

/// Reads the answers for a batch of searches and writes the leaves of the next one.
template <class B>
class LeafBatch {
 public:
  void clear() { waiting_.clear(); }
  int size() const { return static_cast<int>(waiting_.size()); }
  void add(GumbelSearch<B>& search, uint8_t* planes, float* globals) {
    const auto row = waiting_.size();
    encode(search.leaf(), planes + row * kPlanes * B::kSlots, globals + row * kGlobals);
    waiting_.push_back(&search);
  }
  void feed(const float* logits, const float* values, int seats) {
    for (size_t row = 0; row < waiting_.size(); ++row)
      waiting_[row]->feed(logits + row * kPolicyLength<B>, values + row * static_cast<size_t>(seats));
    waiting_.clear();
  }

 private:
  std::vector<GumbelSearch<B>*> waiting_;
};

template <class B>
class SearchPoolOf final : public SearchPool {
 public:
  SearchPoolOf(int seats, const GumbelSettings& settings) : seats_(seats), settings_(settings) {}

  int add(const Game& game, uint64_t seed) override {
    searches_.emplace_back(scratch_);
    searches_.back().start(game.state<B>(), settings_, seed);
    active_.push_back(static_cast<int>(searches_.size()) - 1);
    return active_.back();
  }

  int collect(uint8_t* planes, float* globals, int capacity) override {
    batch_.clear();
    size_t kept = 0;
    for (size_t i = 0; i < active_.size(); ++i) {
      const int index = active_[i];
      if (batch_.size() < capacity) {
        auto& search = searches_[static_cast<size_t>(index)];
        if (!search.run()) continue;
        batch_.add(search, planes, globals);
      }
      active_[kept++] = index;
    }
    active_.resize(kept);
    // Those that had to wait go first the next time.
    if (batch_.size() < static_cast<int>(kept))
      std::rotate(active_.begin(), active_.begin() + batch_.size(), active_.end());
    return batch_.size();
  }
  void feed(const float* logits, const float* values) override { batch_.feed(logits, values, seats_); }
  int pending() const override { return batch_.size(); }
  BatchShape shape() const override { return shape_of<B>(seats_); }

  SearchOutcome outcome(int index) const override {
    const auto& search = finished(index);
    SearchOutcome out;
    out.choice = search.choice();
    out.policy.resize(static_cast<size_t>(search.moves()));
    search.improved_policy(out.policy.data());
    for (int i = 0; i < search.moves(); ++i) {
      out.moves.push_back(search.move(i).bits);
      out.visits.push_back(search.visits(i));
    }
    out.root_value = search.root_value();
    out.simulations = search.simulations();
    out.evaluations = search.evaluations();
    return out;
  }

  std::vector<TreeNode> tree(int index) const override {
    const auto& search = finished(index);
    std::vector<TreeNode> out;
    for (const auto& n : search.nodes()) {
      TreeNode t{n.parent, 0, n.plies, n.to_move, n.terminal, 0, 0.0F, n.value};
      if (n.parent_edge >= 0) {
        const auto& e = search.edges()[static_cast<size_t>(n.parent_edge)];
        t.move = e.move.bits;
        t.visits = e.visits;
        t.sum = e.value;
      }
      out.push_back(t);
    }
    return out;
  }

 private:
  const GumbelSearch<B>& finished(int index) const {
    if (index < 0 || index >= static_cast<int>(searches_.size()))
      throw std::out_of_range("there is no search " + std::to_string(index));
    const auto& search = searches_[static_cast<size_t>(index)];
    if (!search.done()) throw std::logic_error("search " + std::to_string(index) + " has not finished");
    return search;
  }

  int seats_;
  GumbelSettings settings_;
  SearchScratch scratch_;
  std::deque<GumbelSearch<B>> searches_;
  std::vector<int> active_;
  LeafBatch<B> batch_;
};

template <class B>
class SelfplayPoolOf final : public SelfplayPool {
 public:
  SelfplayPoolOf(int seats, const GumbelSettings& settings, const SelfplayOptions& options)
      : seats_(seats), settings_(settings), options_(options) {
    for (int i = 0; i < std::max(1, options.slots); ++i) slots_.emplace_back(scratch_);
  }

  int add(const Game& game, uint64_t seed) override {
    queue_.push_back({game.state<B>(), seed, added_});
    return added_++;
  }

  int collect(uint8_t* planes, float* globals, int capacity) override {
    batch_.clear();
    const size_t count = slots_.size();
    for (size_t i = 0; i < count && batch_.size() < capacity; ++i) {
      Slot& slot = slots_[(first_ + i) % count];
      if (advance(slot)) batch_.add(slot.search, planes, globals);
    }
    // With room for only some, the others come first the next time.
    if (batch_.size() == capacity) first_ = (first_ + static_cast<size_t>(capacity)) % count;
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
    explicit Slot(SearchScratch& scratch) : search(scratch) {}
    GumbelSearch<B> search;
    bool playing = false;
    int decisions = 0;
    uint64_t seed = 0;
    State<B> state;
    FinishedGame game;
  };

  /// Brings the slot to a leaf (true), or to its last game's end with the queue empty (false).
  bool advance(Slot& slot) {
    for (;;) {
      if (!slot.playing) {
        if (queue_.empty()) return false;
        slot.state = queue_.front().state;
        slot.seed = mix(queue_.front().seed);  // so that neighbouring seeds share no numbers
        slot.game = {};
        slot.game.index = queue_.front().index;
        slot.game.offsets.push_back(0);
        queue_.pop_front();
        slot.playing = true;
        slot.decisions = 0;
        next_decision(slot);
      }
      while (slot.playing) {
        if (slot.search.run()) return true;
        decide(slot);
        next_decision(slot);
      }
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
      if (playable_.size() > 1) {
        Random random(slot.seed + static_cast<uint64_t>(slot.decisions));
        return slot.search.start(slot.state, settings_, random.next());
      }
      play(slot, playable_[0]);
    }
    slot.game.winner = slot.state.winner;
    finished_.push_back(std::move(slot.game));
    slot.playing = false;
  }

  /// Records the finished search and plays its move.
  void decide(Slot& slot) {
    const GumbelSearch<B>& search = slot.search;
    const auto size = static_cast<size_t>(search.moves());
    int choice = search.choice();
    const bool drawn = slot.decisions < options_.temperature_plies;
    if (options_.keep_search || drawn) {
      policy_.resize(size);
      search.improved_policy(policy_.data());
    }
    if (drawn) {
      Random random(slot.seed + static_cast<uint64_t>(slot.decisions));
      random.next();  // that one went into the search
      double lot = random.uniform();
      for (size_t i = 0; i < size; ++i) {
        lot -= static_cast<double>(policy_[i]);
        if (policy_[i] > 0.0F) choice = static_cast<int>(i);
        if (lot < 0.0) break;
      }
    }
    if (options_.keep_search) {
      FinishedGame& g = slot.game;
      g.ply.push_back(static_cast<int32_t>(g.moves.size()));
      g.policy.insert(g.policy.end(), policy_.begin(), policy_.end());
      g.offsets.push_back(static_cast<int32_t>(g.policy.size()));
      const SeatValues value = search.root_value();
      g.root_value.insert(g.root_value.end(), value.begin(), value.begin() + seats_);
    }
    slot.game.simulations += search.simulations();
    slot.game.evaluations += search.evaluations();
    ++slot.decisions;
    play(slot, search.move(choice));
  }

  int seats_;
  GumbelSettings settings_;
  SelfplayOptions options_;
  SearchScratch scratch_;
  std::deque<Queued> queue_;
  std::deque<Slot> slots_;
  size_t first_ = 0;  ///< slot that is asked first
  int added_ = 0;
  std::vector<FinishedGame> finished_;
  std::vector<Move> playable_;
  std::vector<float> policy_;
  LeafBatch<B> batch_;
};

}  // namespace

BatchShape batch_shape(Config config) {
  return visit_board(config.board, [&]<class B>() { return shape_of<B>(config.seats); });
}

std::unique_ptr<SearchPool> SearchPool::make(Config config, const GumbelSettings& settings) {
  return visit_board(config.board, [&]<class B>() -> std::unique_ptr<SearchPool> {
    return std::make_unique<SearchPoolOf<B>>(config.seats, settings);
  });
}

std::unique_ptr<SelfplayPool> SelfplayPool::make(Config config, const GumbelSettings& settings,
                                                 const SelfplayOptions& options) {
  return visit_board(config.board, [&]<class B>() -> std::unique_ptr<SelfplayPool> {
    return std::make_unique<SelfplayPoolOf<B>>(config.seats, settings, options);
  });
}

}  // namespace rr
