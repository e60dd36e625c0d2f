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
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/poll_set.h"
#include "grove/patch/internal/own_descriptors.h"
#include "grove/patch/patch.h"
#include "grove/patch/report.h"

namespace grove::patch {
namespace {

std::string Take(const char* name) {
  const char* value = getenv(name);
  const std::string taken = value ? value : "";
  unsetenv(name);
  return taken;
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
  unsetenv("LD_PRELOAD");
  if (!preload.empty()) setenv("LD_PRELOAD", preload.c_str(), 1);

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
