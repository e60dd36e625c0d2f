#ifndef GROVE_HUB_INTERNAL_CHECK_H_
#define GROVE_HUB_INTERNAL_CHECK_H_

#include <string>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

// The third kind of error: the program is wrong. Says what and where, shows the stack
// and whatever the upper layers know of the moment (which greenlets), and aborts.
namespace grove::hub_internal {

[[noreturn]] void Fatal(const char* file, int line, absl::string_view message);

// Adds to what Fatal() prints. green uses it for "in greenlet 'name'".
using FatalContext = std::string (*)();
void SetFatalContext(FatalContext context);

// This thread's stack, one "  @ function" a line, for messages to people.
std::string StackTrace(int skip);

}  // namespace grove::hub_internal

#define GROVE_FATAL(...) \
  ::grove::hub_internal::Fatal(__FILE__, __LINE__, ::absl::StrCat(__VA_ARGS__))

// GROVE_CHECK(condition, message parts for absl::StrCat...)
#define GROVE_CHECK(condition, ...)                                 \
  do {                                                              \
    if (ABSL_PREDICT_FALSE(!(condition))) GROVE_FATAL(__VA_ARGS__); \
  } while (0)

#endif  // GROVE_HUB_INTERNAL_CHECK_H_
