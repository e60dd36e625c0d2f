// What shutdown_test starts: a program that ends in the way its argument says. It prints
// a line for each thing that happens, so that who runs it need not wait for time.

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "absl/status/status.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/shutdown.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/hub/clock.h"

namespace {

using grove::Deadline;
using grove::OnShutdown;
using grove::ShutdownHook;
using grove::ShutdownPhase;
using grove::ShutdownScope;
using grove::Sleep;

void Say(const char* what) {
  puts(what);
  fflush(stdout);
}

void Hang() { Sleep(absl::InfiniteDuration()); }

int Clean() {
  ShutdownScope shutdown;
  ShutdownHook flush =
      OnShutdown(ShutdownPhase::kFlush, "log", [](Deadline) { Say("flush"); });
  ShutdownHook drain = OnShutdown(ShutdownPhase::kDrain, "server", [](Deadline) {
    grove::Yield();
    Say("drain");
  });
  ShutdownHook accept = OnShutdown(ShutdownPhase::kStopAccepting, "listener",
                                   [](Deadline) { Say("stop accepting"); });
  Say("ready");
  return shutdown.Run();
}

// Signals come before anybody waits for them.
int Early() {
  ShutdownScope shutdown;
  Say("ready");
  for (char c; read(STDIN_FILENO, &c, 1) != 0;) {
  }
  const grove::ShutdownReport report = shutdown.Wait();
  printf("signal %d, clean: %d\n", report.signal, report.clean());
  return report.exit_code;
}

int Requested() {
  ShutdownScope shutdown;
  grove::Spawn([] { grove::RequestShutdown(3); });
  return shutdown.Run();
}

// A hook waits for ever, and lets the hub run.
int HookHangs() {
  ShutdownScope shutdown;
  ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "deaf", [](Deadline) {
    Say("hangs");
    Hang();
  });
  Say("ready");
  return shutdown.Run();
}

// A hook stops the whole thread.
int ThreadHangs() {
  ShutdownScope shutdown;
  ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "stuck", [](Deadline) {
    Say("hangs");
    for (;;) pause();
  });
  Say("ready");
  return shutdown.Run();
}

// All that can go wrong at once, on a clock on which no machine is too slow.
int Cut() {
  grove::ManualClock clock;
  const grove::HubScope hub({.name = "hub-0", .clock = &clock});
  ShutdownScope shutdown;
  ShutdownHook refuses = OnShutdown(ShutdownPhase::kDrain, "mule", [](Deadline) {
    const grove::Shield shield;
    Hang();
  });
  ShutdownHook hangs =
      OnShutdown(ShutdownPhase::kDrain, "deaf", [](Deadline) { Hang(); });
  ShutdownHook throws = OnShutdown(ShutdownPhase::kClose, "thrower", [](Deadline) {
    throw std::runtime_error("no such thing");
  });
  ShutdownHook fails = OnShutdown(ShutdownPhase::kFlush, "disk",
                                  [](Deadline) { return absl::DataLossError("full"); });
  grove::Spawn({.name = "worker"}, [] { Hang(); });
  grove::Spawn({.name = "stubborn"}, [] {
    const grove::Shield shield;
    Hang();
  });
  Say("ready");
  return shutdown.Run();
}

// The end begins by itself; signals come while a hook stops the whole thread.
int RequestedThenSignals() {
  ShutdownScope shutdown;
  ShutdownHook hook = OnShutdown(ShutdownPhase::kDrain, "deaf", [](Deadline) {
    Say("hangs");
    // In poll(), since ThreadSanitizer holds signals back while a thread is in read().
    pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    while (poll(&input, 1, -1) != 1) {
    }
    char c;
    if (read(STDIN_FILENO, &c, 1) == 1) Say("goes on");
    for (;;) pause();
  });
  grove::RequestShutdown();
  return shutdown.Run();
}

}  // namespace

int main(int, char** argv) {
  const std::string mode = argv[1];
  if (mode == "clean") return Clean();
  if (mode == "early") return Early();
  if (mode == "requested") return Requested();
  if (mode == "hook hangs") return HookHangs();
  if (mode == "thread hangs") return ThreadHangs();
  if (mode == "cut") return Cut();
  if (mode == "requested, then signals") return RequestedThenSignals();
  return 99;
}
