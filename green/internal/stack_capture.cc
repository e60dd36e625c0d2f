#include "grove/green/internal/stack_capture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/backtrace.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/own_sigaction.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

constexpr int kSignals = 65;
ProcessMutex& InstallMutex() {
  static auto* const mutex = new ProcessMutex;
  return *mutex;
}
bool installed[kSignals];
struct sigaction previous[kSignals];

void OnSignal(int signum, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const mcontext_t& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  const auto pc = registers.gregs[REG_RIP];
  const auto sp = registers.gregs[REG_RSP];
#else
  const auto pc = registers.pc;
  const auto sp = registers.sp;
#endif
  const Scheduler* s = Scheduler::GetIfExists();
  const bool ours =
      s != nullptr && s->record().capture().Answer(reinterpret_cast<void*>(pc),
                                                   reinterpret_cast<void*>(sp));
  errno = saved_errno;
  if (ours) return;
  const struct sigaction& before = previous[signum];
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signum, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signum);
  }
}

}  // namespace

std::string CapturedStack::Label() const {
  if (loop) return "a loop callback";
  if (id == 0) return absl::StrCat("greenlet '", name, "'");
  return absl::StrCat("greenlet '", name, "' (#", id, ")");
}

StackCapture::StackCapture() { sem_init(&answered_, 0, 0); }
StackCapture::~StackCapture() { sem_destroy(&answered_); }

void StackCapture::InstallHandler(int signum) {
  GROVE_CHECK(signum > 0 && signum < kSignals, "there is no signal ", signum);
  const std::lock_guard lock(InstallMutex());
  if (installed[signum]) return;
  OwnSigaction(signum, nullptr, &previous[signum]);
  struct sigaction action {};
  action.sa_sigaction = &OnSignal;
  // On the alternate stack: a greenlet's may be nearly used up.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigfillset(&action.sa_mask);
  GROVE_CHECK(OwnSigaction(signum, &action, nullptr) == 0,
              "no handler can be set for signal ", signum, ": ", strerror(errno));
  installed[signum] = true;
}

bool StackCapture::Take(pthread_t thread, int signum, absl::Duration limit,
                        CapturedStack* out) {
  state_.store(kAsked, std::memory_order_release);
  if (pthread_kill(thread, signum) != 0) {
    state_.store(kIdle, std::memory_order_relaxed);
    return false;
  }
  timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until = absl::ToTimespec(absl::DurationFromTimespec(until) + limit);
  for (;;) {
    if (sem_clockwait(&answered_, CLOCK_MONOTONIC, &until) == 0) break;
    if (errno == EINTR) continue;
    int asked = kAsked;
    // Given up, unless it is about to answer.
    if (state_.compare_exchange_strong(asked, kIdle)) return false;
    while (sem_wait(&answered_) != 0) {
    }
    break;
  }
  // It is there: ThreadSanitizer does not know sem_clockwait(3) for what it is.
  (void)state_.load(std::memory_order_acquire);
  *out = result_;
  state_.store(kIdle, std::memory_order_release);
  return true;
}

bool StackCapture::Answer(const void* pc, const void* sp) {
  int asked = kAsked;
  if (!state_.compare_exchange_strong(asked, kAnswering)) return false;
  const Scheduler* s = Scheduler::GetIfExists();
  const Core* core = s->current();
  CapturedStack& r = result_;
  r.loop = s->on_loop_stack();
  r.id = core->id;
  r.site = core->site;
  r.progress = s->FromElsewhere().hub.progress();
  // Core::name() would allocate.
  if (core->extras && !core->extras->name.empty()) {
    const std::string& name = core->extras->name;
    const size_t n = std::min(name.size(), sizeof r.name - 1);
    memcpy(r.name, name.data(), n);
    r.name[n] = '\0';
  } else {
    snprintf(r.name, sizeof r.name, "greenlet-%llu",
             static_cast<unsigned long long>(core->id));
  }
  r.pcs[0] = const_cast<char*>(static_cast<const char*>(pc)) + 1;
  r.count = 1;
  // In the middle of a switch the registers are those of two stacks.
  const char* at = static_cast<const char*>(sp);
  if (!core->stack.valid() || (at >= core->stack.low && at <= core->stack.top())) {
    r.count = BacktraceInterrupted(pc, r.pcs, CapturedStack::kMaxFrames);
  }
  state_.store(kAnswered, std::memory_order_release);
  sem_post(&answered_);
  return true;
}

}  // namespace grove::green_internal
