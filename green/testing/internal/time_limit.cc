#include "grove/green/testing/internal/time_limit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "grove/green/internal/scheduler.h"
#include "grove/hub/hub.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/mailbox.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace grove::testing_internal {
namespace {

// What a signal handler may print without asking anybody.
char g_message[512];
HubHandle g_hub;

[[noreturn]] void Die() {
  using green_internal::Scheduler;
  const Scheduler* s = Scheduler::GetIfExists();
  GROVE_FATAL("a test takes too long; its greenlets:\n", s ? s->Report() : "  none\n");
}

void OnExpired(int) {
  static bool again = false;
  static Letter letter([](Letter*, bool delivered) {
    if (delivered) Die();
  });
  if (!again) {
    again = true;
    (void)!write(STDERR_FILENO, g_message, strlen(g_message));
    // If the hub waits, let it do what a signal handler must not: this may have
    // interrupted malloc().
    g_hub.PostLetter(&letter);
    return;
  }
  // It does not come to its mail. What is left is to try, and to die in any case.
  signal(SIGALRM, SIG_DFL);
  alarm(10);
  Die();
}

}  // namespace

TimeLimit::TimeLimit(absl::Duration limit, const std::string& test) {
  if (limit == absl::InfiniteDuration()) return;
  g_hub = Hub::Current()->handle();
  snprintf(g_message, sizeof g_message, "grove: %s has taken longer than %s\n",
           test.c_str(), absl::FormatDuration(limit).c_str());
  const int signum = SIGRTMAX - 2;
  struct sigaction action {};
  action.sa_handler = &OnExpired;
  sigemptyset(&action.sa_mask);
  GROVE_CHECK(sigaction(signum, &action, nullptr) == 0, "sigaction: ", strerror(errno));
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = signum;
  event.sigev_notify_thread_id = gettid();
  const itimerspec when{.it_interval = {.tv_sec = 2, .tv_nsec = 0},
                        .it_value = absl::ToTimespec(limit)};
  armed_ = timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  GROVE_CHECK(armed_ && timer_settime(timer_, 0, &when, nullptr) == 0, "a time limit of ",
              absl::FormatDuration(limit), ": ", strerror(errno));
}

TimeLimit::~TimeLimit() {
  if (!armed_) return;
  timer_delete(timer_);
  g_hub = HubHandle();
}

}  // namespace grove::testing_internal
