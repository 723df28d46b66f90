// The nanobind module `ringrift._core`. Each part binds itself in a file of its own.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

namespace nb = nanobind;

void bind_rules(nb::module_& m);     // rules.cpp: Game
void bind_recorded(nb::module_& m);  // recorded.cpp
void bind_batch(nb::module_& m);     // batch.cpp: GameBatch
void bind_encoding(nb::module_& m);  // encoding.cpp
void bind_samples(nb::module_& m);   // samples.cpp
void bind_search(nb::module_& m);    // search.cpp: pools, heuristic
void bind_minimax(nb::module_& m);   // minimax.cpp
void bind_json(nb::module_& m);      // json.cpp

NB_MODULE(_core, m) {
  m.doc() = "The compiled core of ringrift.";
  m.def("build_compiler", [] { return std::string(RR_COMPILER); }, "The compiler that built the core.");
  m.def("build_flags", [] { return std::string(RR_FLAGS); }, "The compiler flags that the core was built with.");
  bind_rules(m);
  bind_recorded(m);
  bind_batch(m);
  bind_encoding(m);
  bind_samples(m);
  bind_search(m);
  bind_minimax(m);
  bind_json(m);
}
