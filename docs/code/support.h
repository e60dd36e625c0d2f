#pragma once

// What every page's blocks are compiled with (extract.py).

#include <gtest/gtest.h>
#include <stdio.h>

#include <string>

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

// What is printed meanwhile; if nobody asks for it, as after an exception, it is printed
// after all.
class Output {
 public:
  Output() { testing::internal::CaptureStdout(); }
  ~Output() {
    if (captures_) fputs(Take().c_str(), stdout);
  }
  std::string Take() {
    captures_ = false;
    fflush(stdout);
    return testing::internal::GetCapturedStdout();
  }

 private:
  bool captures_ = true;
};

}  // namespace docs
