// JSON texts for Python, looked through as they come.
#include "core/json.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

namespace nb = nanobind;
using namespace nanobind::literals;

void bind_json(nb::module_& m) {
  using rr::JsonFilter;
  nb::class_<JsonFilter>(
      m, "JsonFilter",
      "A JSON text (RFC 8259) that comes in parts: kept but for some values, in whose place stands `null`.")
      .def(
          nb::init<std::vector<std::string>, std::vector<std::string>>(), "holders"_a, "unread"_a,
          "`unread`: fields that are left out of the objects that are fields `holders` of the outermost object, and of "
          "those in lists that are.")
      .def(
          "feed", [](JsonFilter& filter, const nb::bytes& part) { filter.feed({part.c_str(), part.size()}); }, "part"_a,
          "Raises ValueError for what is not JSON by the letter, not UTF-8, deeper than 200, half of a character, or a "
          "number beyond all doubles, also in what is left out. Then nothing more may be fed.")
      .def("finish", &JsonFilter::finish, "Raises ValueError where the text is not whole.")
      .def_prop_ro(
          "size", [](const JsonFilter& filter) { return filter.kept().size(); }, "Bytes that are kept.")
      .def_prop_ro("containers", &JsonFilter::containers, "Objects and lists that are kept.")
      .def_prop_ro("commas", &JsonFilter::commas, "Commas between values that are kept.")
      .def("kept", [](const JsonFilter& filter) { return nb::bytes(filter.kept().data(), filter.kept().size()); });
}
