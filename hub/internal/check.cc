#include "grove/hub/internal/check.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>

#include <atomic>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_format.h"

namespace grove::hub_internal {
namespace {
std::atomic<FatalContext> g_context{nullptr};
}  // namespace

void SetFatalContext(FatalContext context) { g_context = context; }

std::string StackTrace(int skip) {
  // backtrace() and not absl::GetStackTrace(): it follows unwind tables, so that
  // frames of libraries without frame pointers are seen too.
  void* pcs[64];
  const int depth = backtrace(pcs, 64);
  std::string out;
  for (int i = skip + 1; i < depth; ++i) {
    char symbol[512];
    // A return address may lie past the end of its function: look one byte before.
    if (!absl::Symbolize(static_cast<char*>(pcs[i]) - 1, symbol, sizeof symbol)) {
      snprintf(symbol, sizeof symbol, "(unknown)");
    }
    absl::StrAppendFormat(&out, "  @ %p  %s\n", pcs[i], symbol);
  }
  return out;
}

void Fatal(const char* file, int line, absl::string_view message) {
  const FatalContext context = g_context;
  const std::string text = absl::StrCat("grove: fatal: ", message, " (", file, ":", line,
                                        ")\n", context ? context() : "", StackTrace(1));
  fwrite(text.data(), 1, text.size(), stderr);
  fflush(stderr);
  abort();
}

}  // namespace grove::hub_internal
