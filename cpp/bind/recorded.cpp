// Moves as the earlier service recorded them, JSON objects, played as far as their fields tell the texts of moves.
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <charconv>

#include "rules.h"

namespace nb = nanobind;

namespace rr {
namespace {

using Text = std::string_view;
using Cells = std::vector<std::pair<int, int>>;

/// Calls f(key with its quotes, value) for the items of a JSON object, f("", value) for those of a list; false where
/// that is not the whole text.
template <class F>
bool items(Text t, F&& f) {
  Text key;
  int depth = 0;
  for (size_t i = 0, begin = 1; i < t.size(); ++i) {
    const char c = t[i];
    if (c == '"') {
      while (++i < t.size() && t[i] != '"') {
      }
    } else if (c == ' ' && i == begin) {
      ++begin;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == ':' && depth == 1) {
      key = t.substr(begin, i - begin);
      begin = i + 1;
    } else if (c == ',' || c == '}' || c == ']') {
      depth -= c != ',';
      if (depth != (c == ',')) continue;
      f(key, t.substr(begin, i - begin));
      begin = i + 1;
      if (depth == 0) return begin == t.size();
    }
  }
  return false;
}

/// Adds the cells of a cell, of a list, or of objects that have such a list.
void add_cells(Text value, Cells& cells, int depth = 0) {
  int x = 999, y = 999;
  items(value, [&](Text key, Text inner) {
    if (key == R"("x")" || key == R"("y")") {
      int& n = key[1] == 'x' ? x : y;
      if (std::from_chars(inner.data(), inner.data() + inner.size(), n).ptr != inner.data() + inner.size()) n = -999;
    } else if (depth < 3 && (key.empty() || key == R"("positions")" || key == R"("spaces")")) {
      add_cells(inner, cells, depth + 1);
    }
  });
  if (x != 999 || y != 999) cells.emplace_back(x, y);
}

/// A value as texts of moves have it: cells, a number, the first letter of a word; nothing of null.
std::string told(Text value) {
  const bool list = value.starts_with('[');
  if (value.starts_with('"')) value = value.substr(1, 1);
  if (!list && !value.starts_with('{')) return value == "null" ? "" : std::string(value);
  Cells cells;
  add_cells(value, cells);
  std::sort(cells.begin(), cells.end());
  std::string out;
  for (const auto& [x, y] : cells)
    out += (out.empty() ? (list ? "[" : "") : " ") + std::to_string(x) + ',' + std::to_string(y);
  return out + (list && !out.empty() ? "]" : "");
}

/// The text of a move by the pattern of its type, in which fields stand as {name}; empty where it does not tell.
std::string told_move(Text json, Text seat, const std::map<std::string, std::string>& patterns) {
  std::vector<std::pair<Text, Text>> fields;
  fields.reserve(40);
  if (json.find('\\') != Text::npos || !items(json, [&](Text key, Text value) { fields.emplace_back(key, value); }))
    return "";
  const auto field = [&](Text name) {
    for (const auto& [key, value] : fields)
      if (key.size() == name.size() + 2 && key.substr(1, name.size()) == name) return value;
    return Text("?");
  };
  const Text type = field("type");
  const auto pattern = patterns.find(type.size() < 2 ? "" : std::string(type.substr(1, type.size() - 2)));
  if (pattern == patterns.end() || field("player") != seat) return "";
  std::string out;
  for (size_t at = 0, next = 0; at < pattern->second.size(); at = next + 1) {
    const Text rest = pattern->second;
    next = std::min(rest.find_first_of("{}", at), rest.size());
    out += at > 0 && rest[at - 1] == '{' ? told(field(rest.substr(at, next - at))) : rest.substr(at, next - at);
  }
  return out;
}

size_t push_recorded(Game& game, const nb::list& moves, size_t at, const std::map<std::string, std::string>& patterns) {
  for (; at < moves.size(); ++at) {
    const auto row = nb::cast<nb::tuple>(moves[at]);
    const int to_move = game.visit([](const auto& s) { return s.over() ? 0 : s.to_move + 1; });
    int seat = 0;
    Text json;
    if (!row[0].is_none() && !(nb::try_cast(row[0], seat) && seat == to_move)) break;
    if (!nb::try_cast(row[1], json)) break;
    const std::string text = told_move(json, std::to_string(to_move), patterns);
    try {
      game.push_unchecked(game.visit([&](const auto& s) { return parse_move(s, text); }));
    } catch (const std::invalid_argument&) {
      break;  // the caller says in words what is wrong
    }
  }
  return at;
}

}  // namespace
}  // namespace rr

void bind_recorded(nb::module_& m) {
  m.def("push_recorded", &rr::push_recorded, nb::arg("game"), nb::arg("moves"), nb::arg("at"), nb::arg("patterns"),
        "Plays (seat or None, JSON) rows from `at` on as far as each tells one playable move of the seat to move; the "
        "index of the first that does not. `patterns`: texts of moves by type, with {fields}.");
}
