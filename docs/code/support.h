#pragma once

// What every page's blocks are compiled with (extract.py).

#include <gtest/gtest.h>
#include <stdio.h>

#include "grove/green/testing/greenlet_test.h"

// A context may define this before the page's blocks, for what they capture by value: the
// parameters of the function around each body.
#define DOCS_PARAMETERS

namespace docs {

// What a body returns that returns something, here one thing and there another.
struct Anything {
  Anything() = default;
  template <typename T>
  Anything(T&&) {}  // NOLINT: any value is fine
};

}  // namespace docs
