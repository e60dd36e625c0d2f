#include "grove/green/internal/stack_overflow.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include <mutex>

#include "absl/debugging/symbolize.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/internal/stack.h"

namespace grove::green_internal {
namespace {

struct sigaction g_previous;

// Room for the unwinder and the symbolizer.
constexpr size_t kAlternateStackSize = 128 * 1024;

void Print(const char* text) {
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text, strlen(text));
}

struct Trace {
  int frames = 0;
  uintptr_t last_pc = 0;
  int repeats = 0;
};

// The frames of interest lie below the handler's own, which the unwinder walks first.
_Unwind_Reason_Code PrintFrame(_Unwind_Context* context, void* argument) {
  Trace* trace = static_cast<Trace*>(argument);
  const uintptr_t pc = _Unwind_GetIP(context);
  if (pc == 0 || trace->frames == 40) return _URC_END_OF_STACK;
  if (pc == trace->last_pc) {  // plain recursion: say so, once
    ++trace->repeats;
    return trace->repeats > 100'000 ? _URC_END_OF_STACK : _URC_NO_REASON;
  }
  char line[640];
  if (trace->repeats > 0) {
    snprintf(line, sizeof line, "    ... %d times more\n", trace->repeats);
    Print(line);
    trace->repeats = 0;
  }
  trace->last_pc = pc;
  char symbol[512];
  if (!absl::Symbolize(reinterpret_cast<void*>(pc - 1), symbol, sizeof symbol)) {
    snprintf(symbol, sizeof symbol, "(unknown)");
  }
  snprintf(line, sizeof line, "  @ %p  %s\n", reinterpret_cast<void*>(pc), symbol);
  Print(line);
  ++trace->frames;
  return _URC_NO_REASON;
}

void Report(const Stack& stack, const void* address) {
  char line[512];
  const Scheduler* s = Scheduler::GetIfExists();
  const Core* core = s ? const_cast<Scheduler*>(s)->current() : nullptr;
  if (core && core->stack.low == stack.low) {
    // Core::name() would allocate.
    char number[32];
    snprintf(number, sizeof number, "greenlet-%llu",
             static_cast<unsigned long long>(core->id));
    const char* name =
        core->extras && !core->extras->name.empty() ? core->extras->name.c_str() : number;
    snprintf(line, sizeof line,
             "grove: stack overflow in greenlet '%s' (#%llu), spawned at %s:%d: its %zu "
             "KiB stack ended at %p\n",
             name, static_cast<unsigned long long>(core->id), core->site.file,
             core->site.line, stack.size() / 1024, address);
  } else {
    snprintf(line, sizeof line,
             "grove: %p lies in the guard of a greenlet's stack that does not run here\n",
             address);
  }
  Print(line);
  Trace trace;
  _Unwind_Backtrace(&PrintFrame, &trace);
  Print("  (a larger one: SpawnOptions::stack_size)\n");
}

void OnFault(int signum, siginfo_t* info, void* context) {
  const bool fault = info->si_code > 0;  // else somebody sent it
  Stack stack;
  if (fault && FindStackByGuard(info->si_addr, &stack)) Report(stack, info->si_addr);
  // Then what would have happened without us: the handler that was there, or death by
  // this very signal when the instruction is tried again.
  if (g_previous.sa_flags & SA_SIGINFO) {
    g_previous.sa_sigaction(signum, info, context);
  } else if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) {
    g_previous.sa_handler(signum);
  } else {
    struct sigaction as_before {};
    as_before.sa_handler = SIG_DFL;
    sigaction(signum, &as_before, nullptr);
    if (!fault) raise(signum);  // no instruction will be tried again
  }
}

void InstallAlternateStack() {
  stack_t current;
  if (sigaltstack(nullptr, &current) == 0 && !(current.ss_flags & SS_DISABLE)) return;
  void* memory = mmap(nullptr, kAlternateStackSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;  // an overflow will then kill without a report
  struct ThreadStack {
    void* memory = nullptr;
    ~ThreadStack() {
      if (memory == nullptr) return;
      stack_t off{};
      off.ss_flags = SS_DISABLE;
      sigaltstack(&off, nullptr);
      munmap(memory, kAlternateStackSize);
    }
  };
  thread_local ThreadStack owner;
  owner.memory = memory;
  stack_t alternate{};
  alternate.ss_sp = memory;
  alternate.ss_size = kAlternateStackSize;
  sigaltstack(&alternate, nullptr);
}

}  // namespace

void InstallOverflowReport() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = &OnFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &g_previous);
  });
  InstallAlternateStack();
}

}  // namespace grove::green_internal
