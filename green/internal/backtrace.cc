#include "grove/green/internal/backtrace.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <unwind.h>

#include <mutex>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_cat.h"
#include "grove/green/internal/process_mutex.h"

namespace grove::green_internal {

// Calls _Unwind_Backtrace(trace, argument), which believes that it was called by what
// stands at `context`: the call frame information says of the frame's registers that they
// are to be found there, by way of a register that a call leaves alone.
extern "C" _Unwind_Reason_Code grove_backtrace_from(const Context* context,
                                                    _Unwind_Trace_Fn trace,
                                                    void* argument);
#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_backtrace_from
  .hidden grove_backtrace_from
  .type grove_backtrace_from, @function
grove_backtrace_from:
  .cfi_startproc
  endbr64
  pushq %rbx
  .cfi_adjust_cfa_offset 8
  .cfi_rel_offset rbx, 0
  movq %rdi, %rbx
  movq %rsi, %rdi
  movq %rdx, %rsi
  .cfi_remember_state
  # The caller's stack pointer is *(rbx), its frame pointer lies at rbx + 8, and where it
  # goes on at rbx + 16.
  .cfi_escape 0x0f, 0x03, 0x73, 0x00, 0x06
  .cfi_escape 0x10, 0x06, 0x02, 0x73, 0x08
  .cfi_escape 0x10, 0x10, 0x02, 0x73, 0x10
  .cfi_same_value rbx
  call _Unwind_Backtrace@PLT
  .cfi_restore_state
  popq %rbx
  .cfi_adjust_cfa_offset -8
  .cfi_restore rbx
  ret
  .cfi_endproc
  .size grove_backtrace_from, . - grove_backtrace_from
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_backtrace_from
  .hidden grove_backtrace_from
  .type grove_backtrace_from, %function
grove_backtrace_from:
  .cfi_startproc
  hint #34  // bti c
  stp x29, x30, [sp, #-32]!
  .cfi_adjust_cfa_offset 32
  .cfi_rel_offset x29, 0
  .cfi_rel_offset x30, 8
  str x19, [sp, #16]
  .cfi_rel_offset x19, 16
  mov x29, sp
  mov x19, x0
  mov x0, x1
  mov x1, x2
  .cfi_remember_state
  // As above, by way of x19.
  .cfi_escape 0x0f, 0x03, 0x83, 0x00, 0x06
  .cfi_escape 0x10, 0x1d, 0x02, 0x83, 0x08
  .cfi_escape 0x10, 0x1e, 0x02, 0x83, 0x10
  .cfi_same_value x19
  bl _Unwind_Backtrace
  .cfi_restore_state
  ldr x19, [sp, #16]
  ldp x29, x30, [sp], #32
  .cfi_adjust_cfa_offset -32
  .cfi_restore x19
  .cfi_restore x29
  .cfi_restore x30
  ret
  .cfi_endproc
  .size grove_backtrace_from, . - grove_backtrace_from
)");
#endif

namespace {

struct Frames {
  const void* from;  // what comes before it is left out
  bool found;
  void** pcs;
  int max;
  int count = 0;
};

_Unwind_Reason_Code KeepFrame(_Unwind_Context* context, void* argument) {
  Frames* f = static_cast<Frames*>(argument);
  void* pc = reinterpret_cast<void*>(_Unwind_GetIP(context));
  if (pc == nullptr || f->count == f->max) return _URC_END_OF_STACK;
  f->found = f->found || pc == f->from;
  if (f->found) f->pcs[f->count++] = pc;
  return _URC_NO_REASON;
}

}  // namespace

int BacktraceOf(const Context& context, void** pcs, int max) {
  Frames frames{context.pc, false, pcs, max};
  grove_backtrace_from(&context, &KeepFrame, &frames);
  return frames.count;
}

int BacktraceInterrupted(const void* pc, void** pcs, int max) {
  Frames frames{pc, false, pcs, max};
  _Unwind_Backtrace(&KeepFrame, &frames);
  if (frames.found) {
    // As if it were a return address: it is the instruction before that one looks up.
    pcs[0] = const_cast<char*>(static_cast<const char*>(pc)) + 1;
    return frames.count;
  }
  Frames all{nullptr, true, pcs, max};
  _Unwind_Backtrace(&KeepFrame, &all);
  return all.count;
}

#if defined(__clang__)
[[clang::no_sanitize("address", "thread")]]
#else
[[gnu::no_sanitize_address, gnu::no_sanitize_thread]]
#endif
int FramesOf(const Context& context, const char* low, const char* top, void** pcs,
             int max) {
  struct Frame {
    const Frame* caller;
    void* pc;
  };
  int count = 0;
  pcs[count++] = context.pc;
  const char* below = static_cast<const char*>(context.sp);
  if (below < low || below >= top) return 0;
  const Frame* frame = static_cast<const Frame*>(context.fp);
  while (frame != nullptr) {
    const char* at = reinterpret_cast<const char*>(frame);
    if (at < below || at + sizeof(Frame) > top ||
        reinterpret_cast<uintptr_t>(at) % sizeof(void*) != 0) {
      return 0;
    }
    // The outermost one has no caller.
    if (frame->pc == nullptr) return frame->caller == nullptr ? count : 0;
    if (count == max) return count;
    pcs[count++] = frame->pc;
    below = at + sizeof(Frame);
    frame = frame->caller;
  }
  return 0;
}

std::string SymbolOf(void* pc) {
  // What was called is the instruction before the one that is returned to.
  const void* call = static_cast<const char*>(pc) - 1;
  char symbol[1024];
  // Threads that ask at the same time would each have a symbolizer made, and its files
  // opened.
  static auto* const mutex = new ProcessMutex;
  const std::lock_guard lock(*mutex);
  if (!absl::Symbolize(call, symbol, sizeof symbol)) {
    strcpy(symbol, "(unknown)");
  }
  Dl_info module;
  if (dladdr(call, &module) == 0 || module.dli_fname == nullptr) return symbol;
  const char* slash = strrchr(module.dli_fname, '/');
  const uintptr_t offset =
      reinterpret_cast<uintptr_t>(call) - reinterpret_cast<uintptr_t>(module.dli_fbase);
  return absl::StrCat(symbol, " (", slash ? slash + 1 : module.dli_fname, "+0x",
                      absl::Hex(offset), ")");
}

}  // namespace grove::green_internal
