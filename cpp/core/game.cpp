#include "game.h"

#include <charconv>

namespace rr {
namespace {

template <class T>
std::unique_ptr<T> clone(const std::unique_ptr<T>& p) {
  return std::make_unique<T>(*p);
}

std::string options_text(const Options& o) {
  std::string out;
  const auto field = [&](const char* name, int value) {
    out += (out.empty() ? "" : ",") + std::string(name) + "=" + std::to_string(value);
  };
  if (o.swap_rule) field("swap", 1);
  if (o.rings_per_player != 0) field("rings", o.rings_per_player);
  if (o.lps_rounds != Options{}.lps_rounds) field("lps", o.lps_rounds);
  return out.empty() ? "-" : out;
}

Options parse_options(std::string_view text) {
  Options o;
  if (text == "-") return o;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view entry = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    const size_t equals = entry.find('=');
    int value = 0;
    const char* end = entry.data() + entry.size();
    const bool read = equals != std::string_view::npos &&
                      std::from_chars(entry.data() + equals + 1, end, value) == std::from_chars_result{end, {}};
    const std::string_view name = entry.substr(0, equals);
    if (read && name == "swap" && (value == 0 || value == 1))
      o.swap_rule = value == 1;
    else if (read && name == "rings" && value >= 1 && value <= kMaxRingsPerPlayer)
      o.rings_per_player = static_cast<uint16_t>(value);
    else if (read && name == "lps" && value >= 1 && value <= 255)
      o.lps_rounds = static_cast<uint8_t>(value);
    else
      throw NotationError("options are written swap=1,rings=N,lps=N or -, not '" + std::string(entry) + "'");
  }
  return o;
}

}  // namespace

std::optional<Config> parse_config(std::string_view name) {
  for (int b = 0; b < kBoards; ++b)
    for (int seats = 2; seats <= kMaxSeats; ++seats)
      if (const Config c{static_cast<BoardId>(b), seats}; config_name(c) == name) return c;
  return std::nullopt;
}

std::string config_name(Config config) {
  return std::string(kBoardInfo[static_cast<int>(config.board)].name) + "_" + std::to_string(config.seats) + "p";
}

Game::Game(Config config, const Options& options, AnyHistory history)
    : config_(config), options_(options), history_(std::move(history)) {}

Game::Game(Config config, const Options& options)
    : Game(config, options, visit_board(config.board, [&]<class B>() -> AnyHistory {
             auto h = std::make_unique<History<B>>();
             h->now = State<B>(make_rules(config.board, config.seats, options));
             return h;
           })) {}

Game Game::from_canonical(Config config, const Options& options, std::string_view canonical) {
  return Game(config, options, visit_board(config.board, [&]<class B>() -> AnyHistory {
                auto h = std::make_unique<History<B>>();
                h->now = parse_state<B>(make_rules(config.board, config.seats, options), canonical, nullptr);
                return h;
              }));
}

Game Game::from_text(std::string_view text) {
  const size_t first = text.find(';'), last = text.rfind(';');
  const size_t second = first == std::string_view::npos ? first : text.find(';', first + 1);
  if (second == std::string_view::npos || last <= second)
    throw NotationError("a position text is config;options;the ten canonical fields;turn fields");
  const std::string_view name = text.substr(0, first);
  const auto config = parse_config(name);
  if (!config) throw NotationError("a position text begins with a config such as square8_2p");
  const Options options = parse_options(text.substr(first + 1, second - first - 1));
  const std::string_view canonical = text.substr(second + 1, last - second - 1), turn = text.substr(last + 1);
  return Game(*config, options, visit_board(config->board, [&]<class B>() -> AnyHistory {
    auto h = std::make_unique<History<B>>();
    h->now = parse_state<B>(make_rules(config->board, config->seats, options), canonical, &turn);
    return h;
  }));
}

Game::Game(const Game& other)
    : config_(other.config_),
      options_(other.options_),
      history_(std::visit([](const auto& h) -> AnyHistory { return clone(h); }, other.history_)),
      moves_(other.moves_) {}

Game& Game::operator=(const Game& other) { return *this = Game(other); }

void Game::push(Move move) {
  std::visit(
      [&](auto& h) {
        if (!is_playable(h->now, move))
          throw IllegalMoveError("this move is not legal now (it belongs to another position)");
      },
      history_);
  push_unchecked(move);
}

void Game::push_unchecked(Move move) {
  std::visit(
      [&](auto& h) {
        if (moves_.size() % kStride == 0) h->kept.push_back(h->now);
        apply(h->now, move);
      },
      history_);
  moves_.push_back(move);
}

Move Game::pop() {
  const Move last = moves_.back();
  moves_.pop_back();
  std::visit(
      [&](auto& h) {
        const size_t from = moves_.size() / kStride;
        h->now = h->kept[from];
        for (size_t i = from * kStride; i < moves_.size(); ++i) apply(h->now, moves_[i]);
        if (moves_.size() % kStride == 0) h->kept.pop_back();
      },
      history_);
  return last;
}

namespace {
template <class B>
std::string position_text(Config config, const Options& options, const State<B>& s) {
  return config_name(config) + ';' + options_text(options) + ';' + canonical(s) + ';' + turn_text(s);
}
}  // namespace

std::string Game::text() const {
  return visit([&](const auto& s) { return position_text(config_, options_, s); });
}

std::string Game::start_text() const {
  return std::visit(
      [&](const auto& h) { return position_text(config_, options_, h->kept.empty() ? h->now : h->kept.front()); },
      history_);
}

Game Game::transformed(int g) const {
  return std::visit(
      [&]<class B>(const std::unique_ptr<History<B>>& h) {
        auto out = std::make_unique<History<B>>();
        out->now = transform(h->now, g);
        return Game(config_, options_, AnyHistory(std::move(out)));
      },
      history_);
}

}  // namespace rr
