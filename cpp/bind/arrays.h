// Arrays between C++ and numpy.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace nb = nanobind;

namespace rr {

template <class T, int N = 1>
using NumpyArray = nb::ndarray<nb::numpy, T, nb::ndim<N>>;

/// A one-dimensional contiguous array given by Python; it is converted where it is something else.
template <class T>
using Vector = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

/// An array that owns its data, of the shape given.
template <class T, int N>
NumpyArray<T, N> to_numpy(std::vector<T> data, const std::array<size_t, N>& shape) {
  auto* owner = new std::vector<T>(std::move(data));
  nb::capsule free(owner, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return NumpyArray<T, N>(owner->data(), N, shape.data(), free);
}

template <class T>
NumpyArray<T> to_numpy(std::vector<T> data) {
  const std::array<size_t, 1> shape = {data.size()};
  return to_numpy<T, 1>(std::move(data), shape);
}

}  // namespace rr
