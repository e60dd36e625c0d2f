#include "grove/green/internal/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// A main() of its own, and no library but the one under test: this file is also compiled
// for other processors and run under an emulator.

// Loads every register that a called function has to preserve with a value of its own,
// calls `call(argument)`, and returns how many of them were changed by that.
extern "C" uint64_t grove_test_registers(void (*call)(void*), void* argument);

#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_test_registers
  .hidden grove_test_registers
  .type grove_test_registers, @function
grove_test_registers:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  movq %rdi, %rax
  movq %rsi, %rdi
  movq $0x1001, %rbp
  movq $0x1002, %rbx
  movq $0x1003, %r12
  movq $0x1004, %r13
  movq $0x1005, %r14
  movq $0x1006, %r15
  call *%rax
  xorl %eax, %eax
  cmpq $0x1001, %rbp
  je 1f
  incq %rax
1:
  cmpq $0x1002, %rbx
  je 1f
  incq %rax
1:
  cmpq $0x1003, %r12
  je 1f
  incq %rax
1:
  cmpq $0x1004, %r13
  je 1f
  incq %rax
1:
  cmpq $0x1005, %r14
  je 1f
  incq %rax
1:
  cmpq $0x1006, %r15
  je 1f
  incq %rax
1:
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size grove_test_registers, . - grove_test_registers
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_test_registers
  .hidden grove_test_registers
  .type grove_test_registers, %function
  .macro grove_expect register, value
  mov x10, #\value
  cmp \register, x10
  cinc x9, x9, ne
  .endm
  .macro grove_expect_d register, value
  fmov x11, \register
  grove_expect x11, \value
  .endm
grove_test_registers:
  hint #34  // bti c
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, x0
  mov x0, x1
  mov x19, #0x1019
  mov x20, #0x1020
  mov x21, #0x1021
  mov x22, #0x1022
  mov x23, #0x1023
  mov x24, #0x1024
  mov x25, #0x1025
  mov x26, #0x1026
  mov x27, #0x1027
  mov x28, #0x1028
  mov x29, #0x1029
  fmov d8, x19
  fmov d9, x20
  fmov d10, x21
  fmov d11, x22
  fmov d12, x23
  fmov d13, x24
  fmov d14, x25
  fmov d15, x26
  blr x9
  mov x9, #0
  grove_expect x19, 0x1019
  grove_expect x20, 0x1020
  grove_expect x21, 0x1021
  grove_expect x22, 0x1022
  grove_expect x23, 0x1023
  grove_expect x24, 0x1024
  grove_expect x25, 0x1025
  grove_expect x26, 0x1026
  grove_expect x27, 0x1027
  grove_expect x28, 0x1028
  grove_expect x29, 0x1029
  grove_expect_d d8, 0x1019
  grove_expect_d d9, 0x1020
  grove_expect_d d10, 0x1021
  grove_expect_d d11, 0x1022
  grove_expect_d d12, 0x1023
  grove_expect_d d13, 0x1024
  grove_expect_d d14, 0x1025
  grove_expect_d d15, 0x1026
  mov x0, x9
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
  .size grove_test_registers, . - grove_test_registers
)");
#endif

namespace grove::green_internal {
namespace {

int failures = 0;

#define EXPECT(condition)                                            \
  do {                                                               \
    if (!(condition)) {                                              \
      printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                    \
    }                                                                \
  } while (0)

constexpr size_t kStackBytes = 256 * 1024;

Context main_context;

// Switches, and looks at what whoever switches back has handed over.
[[gnu::always_inline]] inline void Switch(Context* from, Context* to, bool last = false) {
  const Arrival arrival = SwitchContext(from, to, from, to, last);
  EXPECT(arrival.self == from);
  EXPECT(arrival.second == from);
}

// A stack with a function on it, which Back() leaves and Resume() enters.
struct Task {
  using Body = void (*)(Task* self);

  explicit Task(Body b) : memory(new char[kStackBytes]), body(b) {
    char* top = memory.get() + kStackBytes;
    top -= reinterpret_cast<uintptr_t>(top) % 16;
    SanitizerNewStack(&context.sanitizer, memory.get(), top - memory.get());
    MakeContext(&context, top, &Enter, this);
  }

  static void Enter(void* argument) {
    Task* self = static_cast<Task*>(argument);
    SanitizerFirstEntry(&main_context.sanitizer);
    self->body(self);
    self->ended = true;
    SanitizerDropStack(&self->context.sanitizer);
    Switch(&self->context, self->back, /*last=*/true);
    abort();
  }

  std::unique_ptr<char[]> memory;
  Context context;
  Context* back = &main_context;
  Body body;
  bool ended = false;
  int steps = 0;
  void* argument = nullptr;
};

// Out of line, as a function that blocks is for its callers.
[[gnu::noinline]] void Resume(Task* task) {
  task->back = &main_context;
  Switch(&main_context, &task->context);
}

[[gnu::noinline]] void Back(Task* task) { Switch(&task->context, task->back); }

void SwitchesBackAndForth() {
  Task task([](Task* self) {
    for (int i = 0; i < 1000; ++i) {
      ++self->steps;
      Back(self);
    }
  });
  for (int i = 1; i <= 1000; ++i) {
    Resume(&task);
    EXPECT(task.steps == i);
    EXPECT(!task.ended);
  }
  Resume(&task);
  EXPECT(task.ended);
}

void TheFunctionGetsItsArgumentAndItsOwnStack() {
  Task task([](Task* self) {
    char local = 0;
    char* volatile where = &local;
    self->argument = where;
  });
  Resume(&task);
  EXPECT(task.ended);
  const char* local = static_cast<char*>(task.argument);
  EXPECT(local >= task.memory.get() && local < task.memory.get() + kStackBytes);
}

// Leaves nothing in the registers as it was.
[[gnu::noinline]] void Scribble() {
#if defined(__x86_64__)
  asm volatile(
      "movq $-1, %%rbx\n\t"
      "movq $-1, %%r12\n\t"
      "movq $-1, %%r13\n\t"
      "movq $-1, %%r14\n\t"
      "movq $-1, %%r15\n\t"
      "pcmpeqd %%xmm0, %%xmm0\n\t"
      "movdqa %%xmm0, %%xmm1\n\t"
      "movdqa %%xmm0, %%xmm6\n\t"
      "movdqa %%xmm0, %%xmm7\n\t"
      "movdqa %%xmm0, %%xmm8\n\t"
      "movdqa %%xmm0, %%xmm15\n\t"
      :
      :
      : "rbx", "r12", "r13", "r14", "r15", "xmm0", "xmm1", "xmm6", "xmm7", "xmm8",
        "xmm15");
#elif defined(__aarch64__)
  asm volatile(
      "mov x19, #-1\n\t"
      "mov x20, #-1\n\t"
      "mov x21, #-1\n\t"
      "mov x22, #-1\n\t"
      "mov x23, #-1\n\t"
      "mov x24, #-1\n\t"
      "mov x25, #-1\n\t"
      "mov x26, #-1\n\t"
      "mov x27, #-1\n\t"
      "mov x28, #-1\n\t"
      "fmov d8, x19\n\t"
      "fmov d9, x19\n\t"
      "fmov d10, x19\n\t"
      "fmov d11, x19\n\t"
      "fmov d12, x19\n\t"
      "fmov d13, x19\n\t"
      "fmov d14, x19\n\t"
      "fmov d15, x19\n\t"
      :
      :
      : "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "d8", "d9",
        "d10", "d11", "d12", "d13", "d14", "d15");
#endif
}

void ScribbleForEver(Task* self) {
  for (;;) {
    ++self->steps;
    // Keeps the compiler from preserving anything across the switch but what it must.
    Scribble();
    Switch(&self->context, self->back);
    Scribble();
  }
}

void RegistersOfTheCallerSurvive() {
  Task task(&ScribbleForEver);
  const auto resume = [](void* t) { Resume(static_cast<Task*>(t)); };
  for (int i = 1; i <= 10; ++i) {
    EXPECT(grove_test_registers(resume, &task) == 0);
    EXPECT(task.steps == i);
  }
  // And the same for one that is on a stack of ours when it switches.
  Task other([](Task* self) {
    const uint64_t changed =
        grove_test_registers([](void* t) { Back(static_cast<Task*>(t)); }, self);
    self->steps = changed == 0 ? 1 : 2;
  });
  Resume(&other);
  Scribble();
  Resume(&other);
  EXPECT(other.steps == 1);
}

volatile double seed = 1.25;

// Many values in floating-point registers, alive over the switch, if there is one.
[[gnu::noinline]] double Compute(Task* task) {
  const double s = seed;
  const double a = s * 3, b = s / 7, c = a + b, d = a * b, e = c - d, f = e * e,
               g = f + a, h = g / b, i = h - c, j = i + d, k = j * e, l = k - f,
               m = l + g, n = m * h;
  const float x = static_cast<float>(n) * 0.5f;
  const long double y = static_cast<long double>(m) / 3;
  if (task) Switch(&main_context, &task->context);
  return a + b + c + d + e + f + g + h + i + j + k + l + m + n + x +
         static_cast<double>(y * 7);
}

void FloatingPointValuesSurvive() {
  Task task(&ScribbleForEver);
  const double expected = Compute(nullptr);
  for (int round = 0; round < 10; ++round) EXPECT(Compute(&task) == expected);
  // Both sides compute: neither sees the other's registers.
  Task computing([](Task* self) {
    double sum = seed;
    for (int i = 0; i < 100; ++i) {
      sum = sum * 1.5 - i;
      Back(self);
    }
    self->argument = new double(sum);
  });
  double sum = seed;
  double mine = 0;
  for (int i = 0; i < 100; ++i) {
    sum = sum * 1.5 - i;
    Resume(&computing);
    mine += Compute(nullptr) + i * 0.5;
  }
  Resume(&computing);
  std::unique_ptr<double> theirs(static_cast<double*>(computing.argument));
  EXPECT(computing.ended && *theirs == sum);
  double again = 0;
  for (int i = 0; i < 100; ++i) again += Compute(nullptr) + i * 0.5;
  EXPECT(mine == again);
}

void TheStackIsAligned() {
  Task task([](Task* self) {
    if (reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) % 16 != 0) ++self->steps;
    alignas(16) volatile char aligned[16];
    aligned[0] = 1;
    if (reinterpret_cast<uintptr_t>(&aligned[0]) % 16 != 0) ++self->steps;
    // The C library uses aligned vector moves for this.
    char text[64];
    snprintf(text, sizeof text, "%.3f %Lg", 1.5 * seed, 2.0L);
    self->argument = new std::string(text);
  });
  Resume(&task);
  EXPECT(task.ended);
  EXPECT(task.steps == 0);
  std::unique_ptr<std::string> text(static_cast<std::string*>(task.argument));
  EXPECT(*text == "1.875 2");
}

// A ring of stacks, each of which switches straight to the next.
struct Ring {
  std::vector<std::unique_ptr<Task>> tasks;
  std::vector<int> order;
  size_t laps = 0;
};
Ring* ring = nullptr;

void ManyContextsSwitchToOneAnother() {
  constexpr size_t kTasks = 100;
  constexpr size_t kLaps = 50;
  Ring r;
  ring = &r;
  for (size_t i = 0; i < kTasks; ++i) {
    r.tasks.push_back(std::make_unique<Task>([](Task* self) {
      const size_t index = reinterpret_cast<size_t>(self->argument);
      for (size_t lap = 0; lap < kLaps; ++lap) {
        ring->order.push_back(static_cast<int>(index));
        const bool last = index + 1 == ring->tasks.size();
        ring->laps += last;
        Context* next = last ? &main_context : &ring->tasks[index + 1]->context;
        Switch(&self->context, next);
      }
    }));
    r.tasks.back()->argument = reinterpret_cast<void*>(i);
  }
  for (size_t lap = 1; lap <= kLaps; ++lap) {
    Switch(&main_context, &r.tasks[0]->context);
    EXPECT(r.laps == lap);
  }
  EXPECT(r.order.size() == kTasks * kLaps);
  for (size_t i = 0; i < r.order.size(); ++i) EXPECT(r.order[i] == int(i % kTasks));
  for (auto& task : r.tasks) Resume(task.get());
  for (auto& task : r.tasks) EXPECT(task->ended);
}

void ContextsAreMadeInsideContexts() {
  constexpr int kDepth = 50;
  // Each makes the next one on its own stack, enters it, and is come back to.
  static void (*const nest)(Task*) = [](Task* self) {
    if (self->steps == kDepth) return;
    Task inner(nest);
    inner.steps = self->steps + 1;
    inner.back = &self->context;
    Switch(&self->context, &inner.context);
    if (inner.ended && (inner.steps == kDepth || inner.argument == &inner)) {
      self->argument = self;
    }
  };
  Task outermost(nest);
  Resume(&outermost);
  EXPECT(outermost.ended);
  EXPECT(outermost.argument == &outermost);
}

int Throwing(Task* self, int depth) {
  if (depth == 0) {
    Back(self);
    throw std::runtime_error("from below");
  }
  return Throwing(self, depth - 1) + 1;
}

void ExceptionsAreThrownAndCaughtOnANewStack() {
  Task task([](Task* self) {
    for (int i = 0; i < 3; ++i) {
      try {
        Throwing(self, 20);
      } catch (const std::runtime_error& e) {
        if (strcmp(e.what(), "from below") == 0) ++self->steps;
      }
    }
  });
  while (!task.ended) Resume(&task);
  EXPECT(task.steps == 3);
  // The stack that was left meanwhile can throw as well.
  try {
    throw 7;
  } catch (int value) {
    EXPECT(value == 7);
  }
}

int frames = 0;

_Unwind_Reason_Code CountFrame(_Unwind_Context*, void*) {
  return ++frames > 1000 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

void UnwindersStopAtTheEntry() {
  Task task([](Task* self) {
    frames = 0;
    self->steps = _Unwind_Backtrace(&CountFrame, nullptr);
  });
  Resume(&task);
  EXPECT(task.steps == _URC_END_OF_STACK);
  EXPECT(frames >= 1 && frames < 16);
}

void AnExceptionThatNobodyCatchesTerminates() {
  // It needs an unwinder that comes to a clean end, or this would be a crash.
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    std::set_terminate([] { _exit(std::current_exception() ? 42 : 43); });
    Task task([](Task*) { throw std::runtime_error("nobody's"); });
    Resume(&task);
    _exit(44);
  }
  int status = 0;
  EXPECT(waitpid(pid, &status, 0) == pid);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

void LocalsSurvive() {
  constexpr int kTasks = 10;
  constexpr int kRounds = 20;
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < kTasks; ++i) {
    tasks.push_back(std::make_unique<Task>([](Task* self) {
      const unsigned char mine = static_cast<unsigned char>(self->steps);
      unsigned char bytes[4096];
      std::string text(1000, static_cast<char>('a' + mine));
      memset(bytes, mine, sizeof bytes);
      int wrong = 0;
      for (int round = 0; round < kRounds; ++round) {
        Back(self);
        for (unsigned char b : bytes) wrong += b != mine;
        wrong += text != std::string(1000, static_cast<char>('a' + mine));
      }
      self->steps = wrong;
    }));
    tasks.back()->steps = i;
  }
  for (int round = 0; round <= kRounds; ++round) {
    for (auto& task : tasks) Resume(task.get());
  }
  for (auto& task : tasks) {
    EXPECT(task->ended);
    EXPECT(task->steps == 0);
  }
}

}  // namespace
}  // namespace grove::green_internal

int main() {
  using namespace grove::green_internal;
  setvbuf(stdout, nullptr, _IOLBF, 0);  // what was printed before a crash is not lost
  SanitizerAdoptThread(&main_context.sanitizer);
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {
      {"SwitchesBackAndForth", &SwitchesBackAndForth},
      {"TheFunctionGetsItsArgumentAndItsOwnStack",
       &TheFunctionGetsItsArgumentAndItsOwnStack},
      {"RegistersOfTheCallerSurvive", &RegistersOfTheCallerSurvive},
      {"FloatingPointValuesSurvive", &FloatingPointValuesSurvive},
      {"TheStackIsAligned", &TheStackIsAligned},
      {"ManyContextsSwitchToOneAnother", &ManyContextsSwitchToOneAnother},
      {"ContextsAreMadeInsideContexts", &ContextsAreMadeInsideContexts},
      {"ExceptionsAreThrownAndCaughtOnANewStack",
       &ExceptionsAreThrownAndCaughtOnANewStack},
      {"UnwindersStopAtTheEntry", &UnwindersStopAtTheEntry},
      {"AnExceptionThatNobodyCatchesTerminates", &AnExceptionThatNobodyCatchesTerminates},
      {"LocalsSurvive", &LocalsSurvive},
  };
  for (const auto& test : tests) {
    const int before = failures;
    test.run();
    printf("%s %s\n", failures == before ? "[  OK  ]" : "[FAILED]", test.name);
  }
  if (failures > 0) printf("%d failures\n", failures);
  return failures > 0 ? 1 : 0;
}
