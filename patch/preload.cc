// What `run` loads into a program before its main(): a hub for the main thread, and all
// that blocks patched. It reads, and takes out of the environment, so that what the
// program itself starts is as always:
//
//   GROVE_PATCH_MODULES   "os,thread,time,socket,dns,select,subprocess,signal,stdio"
//                         or a part of it
//   GROVE_PATCH_VERBOSE   says on stderr what was patched
//   GROVE_PATCH_REPORT    says on stderr, in the end, what was called
//   LD_PRELOAD            without this file
//   GROVE_PATCH_PRELOAD   what LD_PRELOAD was before

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/poll_set.h"
#include "grove/patch/internal/own_descriptors.h"
#include "grove/patch/patch.h"
#include "grove/patch/report.h"

namespace grove::patch {
namespace {

// By hand: programs have a getenv() and an unsetenv() of their own (bash does), which
// know nothing yet.
std::string Take(absl::string_view name) {
  std::string taken;
  char** to = environ;
  for (char** from = environ; *from != nullptr; ++from) {
    absl::string_view entry = *from;
    if (absl::ConsumePrefix(&entry, name) && absl::ConsumePrefix(&entry, "=")) {
      taken = std::string(entry);
    } else {
      *to++ = *from;
    }
  }
  *to = nullptr;
  return taken;
}

// After Take(), which has left room for it.
void PutBack(absl::string_view name, const std::string& value) {
  char** end = environ;
  while (*end != nullptr) ++end;
  *end = strdup(absl::StrCat(name, "=", value).c_str());  // for the life of the process
  end[1] = nullptr;
}

// Programs close stderr before they end: then one that is the same.
int report_fd = STDERR_FILENO;

void PrintReport() {
  const std::string text = Report().ToString();
  const Unpatched unpatched;
  (void)!write(report_fd, text.data(), text.size());
}

// Before the constructors of the program, and after those of the libraries that this one
// needs.
[[gnu::constructor]] void PatchTheProgram() {
  const std::string modules = Take("GROVE_PATCH_MODULES");
  const bool verbose = !Take("GROVE_PATCH_VERBOSE").empty();
  const bool report = !Take("GROVE_PATCH_REPORT").empty();
  const std::string preload = Take("GROVE_PATCH_PRELOAD");
  Take("LD_PRELOAD");
  if (!preload.empty()) PutBack("LD_PRELOAD", preload);

  patch_internal::OwnWhatIsOpened([&] {
    // For the life of the process. A program that waits for ever does so.
    static auto* const hub =
        new HubScope({.name = "patched", .loop_exit = LoopExitPolicy::kNever});
    (void)hub;
    green_internal::PollSet::Get(*green_internal::Scheduler::GetIfExists());
    if (report) report_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  });
  PatchOptions options = {.os = false,
                          .thread = false,
                          .time = false,
                          .socket = false,
                          .dns = false,
                          .select = false,
                          .subprocess = false,
                          .signal = false,
                          .stdio = false};
  for (const absl::string_view module : absl::StrSplit(modules, ',', absl::SkipEmpty())) {
    options.os |= module == "os";
    options.thread |= module == "thread";
    options.time |= module == "time";
    options.socket |= module == "socket";
    options.dns |= module == "dns";
    options.select |= module == "select";
    options.subprocess |= module == "subprocess";
    options.signal |= module == "signal";
    options.stdio |= module == "stdio";
  }
  PatchAll(options);
  if (verbose) PrintReport();
  if (report) atexit(&PrintReport);
}

}  // namespace
}  // namespace grove::patch
