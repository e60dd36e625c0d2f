#ifndef GROVE_GREEN_GREENLET_TEST_UTIL_H_
#define GROVE_GREEN_GREENLET_TEST_UTIL_H_

#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/main_greenlet_test.h"

// What the tests of greenlets have in common.
namespace grove::test_util {

struct Oops {
  int value = 0;
};

inline std::exception_ptr Error(const std::string& what) {
  return std::make_exception_ptr(std::runtime_error(what));
}

inline std::string What(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (const Interrupt& e) {
    return e.ToString();
  } catch (...) {
    return "something else";
  }
}

// Sets a flag when it ends: for what lies on a stack, or is captured.
class Witness {
 public:
  explicit Witness(bool* ended) : ended_(ended) {}
  Witness(Witness&& other) noexcept : ended_(std::exchange(other.ended_, nullptr)) {}
  ~Witness() {
    if (ended_) *ended_ = true;
  }

 private:
  bool* ended_;
};

// What blocks in its destructor, as a stream that says goodbye does.
struct YieldsAtItsEnd {
  explicit YieldsAtItsEnd(int* e) : ended(e) {}
  YieldsAtItsEnd(YieldsAtItsEnd&& other) noexcept
      : ended(std::exchange(other.ended, nullptr)) {}
  ~YieldsAtItsEnd() {
    if (ended == nullptr) return;
    Yield();
    ++*ended;
  }
  int* ended;
};

inline void SleepForEver() { Sleep(absl::InfiniteDuration()); }

// A hub on a virtual clock, whose errors are kept instead of printed.
class GreenletTestBase : public MainGreenletTest {
 protected:
  GreenletTestBase() {
    SetErrorHandler([this](const UnhandledException& e) {
      reports_.push_back(e.greenlet.name() + ": " + What(e.error));
    });
  }
  // The hub ends after the reports.
  ~GreenletTestBase() override { SetErrorHandler({}); }

  std::vector<std::string> reports_;
};

}  // namespace grove::test_util

#endif  // GROVE_GREEN_GREENLET_TEST_UTIL_H_
