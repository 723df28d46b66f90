#include "notation.h"

#include <array>
#include <charconv>
#include <vector>

#include "apply.h"
#include "movegen.h"
#include "outcome.h"
#include "queries.h"

namespace rr {
namespace {

constexpr std::array<std::string_view, 8> kPhaseNames = {
    "ring_placement",       "movement",           "capture",  "chain_capture", "line_processing",
    "territory_processing", "forced_elimination", "game_over"};

template <class B>
void append_cell(std::string& out, Cell c) {
  out += std::to_string(B::x(c));
  out += ',';
  out += std::to_string(B::y(c));
}

template <class B>
void append_cells(std::string& out, const typename B::Bits& cells) {
  out += '[';
  bool first = true;
  cells.for_each([&](Cell c) {
    if (!first) out += ' ';
    first = false;
    append_cell<B>(out, c);
  });
  out += ']';
}

/// Cells first, first + step, .. along an axis.
template <class B>
typename B::Bits stretch(Cell first, int axis, int begin, int count) {
  typename B::Bits cells{};
  for (int i = 0; i < count; ++i) cells.set(B::go(first, axis, begin + i));
  return cells;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const size_t at = text.find(separator);
    out.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + 1);
  }
}

std::string quoted(std::string_view text) {
  constexpr size_t longest = 60;
  std::string out(1, '\'');
  for (const char c : text.substr(0, longest)) out += c >= ' ' && c < 127 ? c : '?';
  if (text.size() > longest) out += "...";
  out += '\'';
  return out;
}

int parse_number(std::string_view text, int least, int most, const char* what) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most)
    throw NotationError(std::string(what) + " must be a number from " + std::to_string(least) + " to " +
                        std::to_string(most) + ", not " + quoted(text));
  return value;
}

template <class B>
Cell parse_cell(std::string_view text) {
  const auto xy = split(text, ',');
  if (xy.size() != 2) throw NotationError("a cell is written x,y, not " + quoted(text));
  const int x = parse_number(xy[0], -99, 99, "x"), y = parse_number(xy[1], -99, 99, "y");
  if (!B::on_board(x, y))
    throw NotationError("cell " + quoted(text) + " is not on the board " +
                        std::string(kBoardInfo[static_cast<int>(B::kId)].name));
  return B::from_xy(x, y);
}

Seat parse_seat(std::string_view text, int seats) {
  return static_cast<Seat>(parse_number(text, 1, seats, "a seat") - 1);
}

std::string seat_digit(Seat seat) { return std::to_string(seat == kNoSeat ? 0 : seat + 1); }

/// Calls f(cell, text after the colon) for every entry of a list of cells such as "0,1:2 3,4:1".
template <class B, class F>
void parse_entries(std::string_view text, const char* what, F&& f) {
  if (text.empty()) return;
  for (const std::string_view entry : split(text, ' ')) {
    const size_t colon = entry.find(':');
    if (colon == std::string_view::npos || colon + 1 == entry.size())
      throw NotationError(std::string(what) + " are written x,y:seat, not " + quoted(entry));
    f(parse_cell<B>(entry.substr(0, colon)), entry.substr(colon + 1));
  }
}

/// True if the text has the shape of a move: letters, numbers and brackets in an order that some move has.
bool is_move_shaped(std::string_view t) {
  size_t i = 0;
  const auto eat = [&](std::string_view word) {
    if (t.substr(i, word.size()) != word) return false;
    i += word.size();
    return true;
  };
  const auto number = [&] {
    if (i < t.size() && t[i] == '-') ++i;
    const size_t begin = i;
    while (i < t.size() && t[i] >= '0' && t[i] <= '9') ++i;
    return i > begin && i - begin <= 2;
  };
  const auto cell = [&] { return number() && eat(",") && number(); };
  const auto cells = [&] {
    if (!eat("[") || !cell()) return false;
    while (eat(" "))
      if (!cell()) return false;
    return eat("]");
  };
  const auto whole = [&](bool ok) { return ok && i == t.size(); };
  for (const std::string_view word : {"SP", "NP", "SW", "SC", "NM", "SR", "NL", "ST", "NT"})
    if (t == word) return true;
  if (t.empty()) return false;
  i = 1;
  switch (t[0]) {
    case 'P':
      return whole(cell() && eat("*") && number());
    case 'M':
      return whole(cell() && eat(">") && cell());
    case 'C':
    case 'K':
      return whole(cell() && eat("x") && cell() && eat(">") && cell());
    case 'R': {
      if (!cell() || !eat(">") || !cell() || !eat(":")) return false;
      if (eat("L2")) return whole(cells());
      if (!eat("L1") && !eat("F") && !eat("S")) return false;
      return whole(!eat("@") || cell());
    }
    case 'L':
    case 'T':
      return whole(cells());
    case 'O':
      return whole(cells() && eat(":") && (eat("A") || cells()));
    case 'E':
      return whole(cell() && eat(":") && (eat("l") || eat("t") || eat("r")));
    case 'F':
      return whole(cell());
    default:
      return false;
  }
}

}  // namespace

std::string_view phase_name(Phase phase) { return kPhaseNames[static_cast<size_t>(phase)]; }

template <class B>
std::string cell_text(Cell c) {
  std::string out;
  append_cell<B>(out, c);
  return out;
}

template <class B>
std::string move_text(const State<B>& s, Move m) {
  constexpr std::array<std::string_view, kMoveTypes> heads = {"P", "SP", "NP", "SW", "M",  "C", "K", "SC", "NM",
                                                              "R", "R",  "R",  "R",  "SR", "L", "O", "O",  "NL",
                                                              "T", "ST", "NT", "E",  "E",  "E", "F"};
  const MoveType type = m.type();
  const Cell c = m.cell();
  std::string out(heads[static_cast<size_t>(type)]);
  const auto cell = [&](Cell at) { append_cell<B>(out, at); };
  switch (type) {
    case MoveType::Place:
      cell(c);
      out += '*';
      out += std::to_string(m.count());
      break;
    case MoveType::Step:
      cell(c);
      out += '>';
      cell(B::go(c, m.dir(), m.distance()));
      break;
    case MoveType::Capture:
    case MoveType::ChainCapture:
      cell(c);
      out += 'x';
      cell(B::go(c, m.dir(), m.distance()));
      out += '>';
      cell(B::go(c, m.dir(), m.landing()));
      break;
    case MoveType::SlideLine:
    case MoveType::SlideLineFree:
    case MoveType::SlideStep:
    case MoveType::SlideStrike: {
      const Cell to = B::go(c, m.dir(), 1);
      cell(c);
      out += '>';
      cell(to);
      out += type == MoveType::SlideLine ? ":L1" : type == MoveType::SlideLineFree ? ":L2" : ":F";
      if (type == MoveType::SlideStrike) out.back() = 'S';
      if (type == MoveType::SlideLineFree) {
        const SlideLines lines = slide_lines(s, s.to_move, c, to);
        append_cells<B>(out, stretch<B>(lines.longest_first, lines.longest_axis, 0, s.rules.line_length));
      } else if (m.extraction() != kNoCell) {
        out += '@';
        cell(m.extraction());
      }
      break;
    }
    case MoveType::Line:
      append_cells<B>(out, stretch<B>(c, m.dir(), 0, m.length()));
      break;
    case MoveType::LineAll:
    case MoveType::LineWindow:
      append_cells<B>(out, stretch<B>(c, m.dir(), 0, m.length()));
      out += ':';
      if (type == MoveType::LineAll)
        out += 'A';
      else
        append_cells<B>(out, stretch<B>(c, m.dir(), m.offset(), s.rules.line_length));
      break;
    case MoveType::Territory:
      append_cells<B>(out, region_cells(s, m));
      break;
    case MoveType::EliminateLine:
    case MoveType::EliminateTerritory:
    case MoveType::EliminateRecovery:
      cell(c);
      out += type == MoveType::EliminateLine ? ":l" : type == MoveType::EliminateTerritory ? ":t" : ":r";
      break;
    case MoveType::ForcedElimination:
      cell(c);
      break;
    default:
      break;
  }
  return out;
}

template <class B>
Move parse_move(const State<B>& s, std::string_view text) {
  if (!is_move_shaped(text))
    throw NotationError(quoted(text) + " is not a move; moves look like P3,4*2, M3,4>3,6, C3,4x3,5>3,6 or NL");
  const size_t at = text.find('@');
  const std::string_view bare = text.substr(0, at);
  int8_t x = 99, y = 99;  // of the cell that most moves begin with: texts of the others need not be made
  if (std::string_view("PMCKREF").find(text[0]) != std::string_view::npos) {
    const char *end = text.data() + text.size(), *comma = std::from_chars(text.data() + 1, end, x).ptr;
    if (comma == end || std::from_chars(comma + 1, end, y).ptr == comma + 1 || !B::on_board(x, y)) x = 99;
  }
  MoveList legal;
  generate(s, legal);
  for (const Move m : legal) {
    if ((x != 99 && m.cell() != B::from_xy(x, y)) || move_text(s, m) != bare) continue;
    if (!m.costs_ring()) return m;  // only slides have an @ in their shape
    std::vector<Cell> cells;
    extractions(s, cells);
    std::string choices;
    for (const Cell c : cells) choices += (choices.empty() ? "@" : ", @") + cell_text<B>(c);
    if (at == std::string_view::npos) {
      if (cells.size() == 1) return m.with_extraction(cells[0]);
      throw IllegalMoveError(quoted(text) + " costs a buried ring: say from which stack, one of " + choices);
    }
    for (const Cell c : cells)
      if (cell_text<B>(c) == text.substr(at + 1)) return m.with_extraction(c);
    throw IllegalMoveError(quoted(text) + ": the ring can only be taken from " + choices);
  }
  std::string why = quoted(text) + " is not legal now: ";
  if (s.over()) throw IllegalMoveError(why + "the game is over");
  why += "seat " + std::to_string(s.to_move + 1) + " is in " + std::string(phase_name(s.phase)) + " with " +
         std::to_string(legal.size) + (legal.size == 1 ? " legal move: " : " legal moves, such as ");
  for (int i = 0; i < std::min(legal.size, 3); ++i) why += (i > 0 ? ", " : "") + move_text(s, legal[i]);
  throw IllegalMoveError(why);
}

template <class B>
std::string canonical(const State<B>& s) {
  std::string out;
  out.reserve(256 + static_cast<size_t>(B::kSlots) * 6);
  if (s.over()) {
    out += "over:" + seat_digit(s.winner) + ";game_over;0;-;-;0;";
  } else {
    out += "active;";
    out += phase_name(s.phase);
    out += ';' + seat_digit(s.to_move) + ';';
    out += s.must_move == kNoCell ? "-" : cell_text<B>(s.must_move);
    out += ';';
    out += s.phase == Phase::ChainCapture ? cell_text<B>(s.active) : "-";
    out += s.owes_line ? ";1;" : ";0;";
  }
  for (Seat p = 0; p < s.seats(); ++p) {
    if (p > 0) out += '/';
    out += std::to_string(s.hand[p]) + ',' + std::to_string(s.eliminated[p]) + ',' + std::to_string(s.collapsed[p]);
  }
  bool first = true;
  const auto entry = [&](Cell c) {
    out += first ? ';' : ' ';
    first = false;
    append_cell<B>(out, c);
    out += ':';
  };
  const auto end_list = [&] {
    if (first) out += ';';
    first = true;
  };
  s.stack_bits().for_each([&](Cell c) {
    entry(c);
    const auto stack = s.stack_at(c);
    for (int i = State<B>::Ops::height(stack) - 1; i >= 0; --i)
      out += static_cast<char>('1' + State<B>::Ops::ring(stack, i));
  });
  end_list();
  const auto owned = [&](const typename B::Bits(&bits)[kMaxSeats]) {
    (bits[0] | bits[1] | bits[2] | bits[3]).for_each([&](Cell c) {
      entry(c);
      for (Seat p = 0; p < kMaxSeats; ++p)
        if (bits[p].test(c)) out += static_cast<char>('1' + p);
    });
    end_list();
  };
  owned(s.marker);
  owned(s.territory);
  return out;
}

std::string lps_text(const LpsTracker& t) {
  std::string out = std::to_string(t.round) + ',' + seat_digit(t.first) + ',' + seat_digit(t.exclusive) + ',' +
                    std::to_string(t.count) + ',';
  for (Seat p = 0; p < kMaxSeats; ++p)
    if ((t.seen >> p & 1) != 0) out += seat_digit(p) + ((t.real >> p & 1) != 0 ? '+' : '-');
  return out;
}

template <class B>
std::string turn_text(const State<B>& s) {
  std::string out;
  const auto field = [&](std::string_view name, std::string_view value) {
    if (!out.empty()) out += ' ';
    out += name;
    out += '=';
    out += value;
  };
  if (s.phase == Phase::Capture) field("capture", cell_text<B>(s.active));
  if (s.owes_territory) field("owed", "1");
  if (s.real_action) field("real", "1");
  if (s.recovery_turn) field("recovery", "1");
  if (s.no_history) field("fresh", "1");
  if (s.swap != SwapState::Never) field("swap", s.swap == SwapState::Available ? "open" : "wait");
  if (const std::string lps = lps_text(s.lps); lps != "0,0,0,0,") field("lps", lps);
  std::string outs;
  bool any_out = false;
  for (Seat p = 0; p < s.seats(); ++p) {
    outs += (p > 0 ? "," : "") + std::to_string(s.out[p]);
    any_out = any_out || s.out[p] > 0;
  }
  if (any_out) field("out", outs);
  if (s.over()) field("end", std::string(reason_name(s.reason)) + "/" + std::string(detail_name(s.detail)));
  return out.empty() ? "-" : out;
}

namespace {

LpsTracker parse_lps(std::string_view text, int seats) {
  const auto f = split(text, ',');
  if (f.size() != 5) throw NotationError("lps is written round,first,exclusive,count,mask, not " + quoted(text));
  const auto seat = [&](std::string_view t) {
    const int n = parse_number(t, 0, seats, "a seat of lps");
    return n == 0 ? kNoSeat : static_cast<Seat>(n - 1);
  };
  LpsTracker t;
  t.round = static_cast<uint16_t>(parse_number(f[0], 0, 65535, "the round of lps"));
  t.first = seat(f[1]);
  t.exclusive = seat(f[2]);
  t.count = static_cast<uint8_t>(parse_number(f[3], 0, 255, "the count of lps"));
  t.seen = t.real = 0;
  if (f[4].size() % 2 != 0) throw NotationError("the mask of lps is written 1+2-, not " + quoted(f[4]));
  int last = -1;
  for (size_t i = 0; i < f[4].size(); i += 2) {
    const Seat p = parse_seat(f[4].substr(i, 1), seats);
    const char sign = f[4][i + 1];
    if ((sign != '+' && sign != '-') || p <= last)
      throw NotationError("the mask of lps is written 1+2-, not " + quoted(f[4]));
    last = p;
    t.seen = static_cast<uint8_t>(t.seen | 1 << p);
    if (sign == '+') t.real = static_cast<uint8_t>(t.real | 1 << p);
  }
  return t;
}

template <class B>
void parse_turn(State<B>& s, std::string_view text) {
  s.no_history = false;
  s.swap = SwapState::Never;
  if (text == "-") return;
  const auto flag = [&](std::string_view name, std::string_view value) {
    if (value != "1") throw NotationError(std::string(name) + " can only be 1, not " + quoted(value));
    return true;
  };
  for (const std::string_view entry : split(text, ' ')) {
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos)
      throw NotationError("a turn field is written name=value, not " + quoted(entry));
    const std::string_view name = entry.substr(0, equals), value = entry.substr(equals + 1);
    if (name == "capture") {
      s.active = parse_cell<B>(value);
      if (s.phase != Phase::Capture) throw NotationError("the turn field capture needs the phase capture");
    } else if (name == "owed") {
      s.owes_territory = flag(name, value);
      if (s.phase != Phase::TerritoryProcessing)
        throw NotationError("the turn field owed needs the phase territory_processing");
    } else if (name == "real") {
      s.real_action = flag(name, value);
    } else if (name == "recovery") {
      s.recovery_turn = flag(name, value);
    } else if (name == "fresh") {
      s.no_history = flag(name, value);
    } else if (name == "swap") {
      if (!s.rules.swap_rule) throw NotationError("the turn field swap needs the option swap and two seats");
      if (value != "open" && value != "wait") throw NotationError("swap is wait or open, not " + quoted(value));
      s.swap = value == "open" ? SwapState::Available : SwapState::BeforeFirstMove;
    } else if (name == "lps") {
      s.lps = parse_lps(value, s.seats());
    } else if (name == "out") {
      const auto outs = split(value, ',');
      if (static_cast<int>(outs.size()) != s.seats())
        throw NotationError("out has a number for each seat, not " + quoted(value));
      for (size_t p = 0; p < outs.size(); ++p) s.out[p] = static_cast<uint8_t>(parse_number(outs[p], 0, 4, "out"));
    } else if (name == "end") {
      const auto parts = split(value, '/');
      if (parts.size() != 2 || !s.over()) throw NotationError("end is reason/detail of a game that is over");
      bool known = false;
      for (int r = 0; r <= static_cast<int>(Reason::LpsRounds); ++r)
        if (parts[0] == reason_name(static_cast<Reason>(r))) known = true, s.reason = static_cast<Reason>(r);
      if (!known) throw NotationError(quoted(parts[0]) + " is not a reason for the end of a game");
      known = false;
      for (int d = 0; d <= static_cast<int>(Detail::LpsRounds); ++d)
        if (parts[1] == detail_name(static_cast<Detail>(d))) known = true, s.detail = static_cast<Detail>(d);
      if (!known) throw NotationError(quoted(parts[1]) + " is not a detail of the end of a game");
    } else {
      throw NotationError(quoted(name) + " is not a turn field");
    }
  }
}

}  // namespace

template <class B>
State<B> parse_state(const Rules& rules, std::string_view text, const std::string_view* turn) {
  using Ops = typename State<B>::Ops;
  const auto f = split(text, ';');
  if (f.size() != 10)
    throw NotationError("a canonical state has 10 fields joined with semicolons, not " + std::to_string(f.size()));
  State<B> s(rules);
  const int n = s.seats();

  const auto phase = std::find(kPhaseNames.begin(), kPhaseNames.end(), f[1]);
  if (phase == kPhaseNames.end()) throw NotationError(quoted(f[1]) + " is not a phase");
  s.phase = static_cast<Phase>(phase - kPhaseNames.begin());
  const bool over = f[0].substr(0, 5) == "over:";
  if (over)
    s.winner = parse_seat(f[0].substr(5), n);
  else if (f[0] != "active")
    throw NotationError("the status is active or over:W, not " + quoted(f[0]));
  if (over != s.over()) throw NotationError("status " + quoted(f[0]) + " does not go with phase " + quoted(f[1]));
  if (over ? f[2] != "0" || f[3] != "-" || f[4] != "-" || f[5] != "0" : false)
    throw NotationError("a game that is over ends with the fields game_over;0;-;-;0");
  if (!over) s.to_move = parse_seat(f[2], n);

  const auto seats = split(f[6], '/');
  if (static_cast<int>(seats.size()) != n)
    throw NotationError("the position has " + std::to_string(seats.size()) + " seats, the config " + std::to_string(n));
  for (size_t p = 0; p < seats.size(); ++p) {
    const auto counts = split(seats[p], ',');
    if (counts.size() != 3) throw NotationError("a seat is written hand,eliminated,territory, not " + quoted(seats[p]));
    s.hand[p] = static_cast<uint16_t>(parse_number(counts[0], 0, 9999, "rings in hand"));
    s.eliminated[p] = static_cast<uint16_t>(parse_number(counts[1], 0, 9999, "eliminated rings"));
  }

  int total = 0;
  typename B::Bits used{};
  const auto use = [&](Cell c) {
    if (used.test(c)) throw NotationError("two things lie on the cell " + cell_text<B>(c));
    used.set(c);
  };
  parse_entries<B>(f[7], "stacks", [&](Cell c, std::string_view rings) {
    use(c);
    if (static_cast<int>(rings.size()) > B::kMaxHeight)
      throw NotationError("the stack at " + cell_text<B>(c) + " has " + std::to_string(rings.size()) +
                          " rings; stacks of more than " + std::to_string(B::kMaxHeight) +
                          " cannot arise on this board and are not held");
    typename B::Stack stack = 0;
    for (const char digit : rings) {
      const Seat p = parse_seat(std::string_view(&digit, 1), n);
      stack = Ops::push(stack, p, 1);
      ++s.rings_on_board[p];
    }
    total += static_cast<int>(rings.size());
    s.set_stack(c, stack);
  });
  parse_entries<B>(f[8], "markers", [&](Cell c, std::string_view seat) {
    use(c);
    s.put_marker(c, parse_seat(seat, n));
  });
  parse_entries<B>(f[9], "collapsed cells", [&](Cell c, std::string_view seat) {
    use(c);
    s.collapse(c, parse_seat(seat, n));
  });
  for (size_t p = 0; p < seats.size(); ++p) {
    const int territory = parse_number(split(seats[p], ',')[2], 0, 9999, "territory");
    if (territory != s.collapsed[p])
      throw NotationError("seat " + std::to_string(p + 1) + " has " + std::to_string(s.collapsed[p]) +
                          " collapsed cells, but its territory says " + std::to_string(territory));
    total += s.hand[p] + s.eliminated[p];
  }
  if (total > 0xFFFF) throw NotationError("a position holds at most 65535 rings, not " + std::to_string(total));
  s.rings_total = static_cast<uint16_t>(total);

  if (f[3] != "-") {
    s.must_move = parse_cell<B>(f[3]);
    const bool moving = s.phase == Phase::Movement || s.phase == Phase::Capture || s.phase == Phase::ChainCapture;
    if (!moving || !s.control[s.to_move].test(s.must_move))
      throw NotationError("the must-move cell " + quoted(f[3]) +
                          " needs a stack of the seat to move in a moving phase");
  }
  if ((f[4] != "-") != (s.phase == Phase::ChainCapture))
    throw NotationError("the chain cell belongs to the phase chain_capture, and only to it");
  if (f[4] != "-") s.active = parse_cell<B>(f[4]);
  if (f[5] != "0" && f[5] != "1") throw NotationError("the line elimination flag is 0 or 1, not " + quoted(f[5]));
  s.owes_line = f[5] == "1";
  if (s.owes_line && s.phase != Phase::LineProcessing)
    throw NotationError("a line elimination can only be owed in the phase line_processing");

  if (turn != nullptr) parse_turn(s, *turn);
  if (s.over()) return s;
  if (s.phase == Phase::Capture && s.active == kNoCell)
    throw NotationError("the phase capture needs the turn field capture: the cell that the stack landed on");
  if (s.active != kNoCell && !s.control[s.to_move].test(s.active))
    throw NotationError("the capturing cell " + cell_text<B>(s.active) + " has no stack of the seat to move");
  MoveList legal;
  generate(s, legal);
  if (legal.size == 0) throw NotationError("seat " + quoted(f[2]) + " has no legal move in phase " + quoted(f[1]));
  return s;
}

#define RR_INSTANTIATE(B, ...)                                 \
  template std::string cell_text<B>(Cell);                     \
  template std::string move_text(const State<B>&, Move);       \
  template Move parse_move(const State<B>&, std::string_view); \
  template std::string canonical(const State<B>&);             \
  template std::string turn_text(const State<B>&);             \
  template State<B> parse_state<B>(const Rules&, std::string_view, const std::string_view*);
RR_BOARDS(RR_INSTANTIATE)

}  // namespace rr
