#ifndef GROVE_GREEN_INTERNAL_CONTEXT_H_
#define GROVE_GREEN_INTERNAL_CONTEXT_H_

#include "grove/green/internal/sanitizer.h"

// Switching from one stack to another, for x86-64 and aarch64.
//
// The switch is inline, and names the callee-saved registers as clobbered: the compiler
// saves those that are live at that point, which are few, where a function would have to
// save them all. What is kept by hand is the stack pointer, the frame pointer (which no
// clobber list may name) and the address to go on at. Going on by an indirect jump and
// not by `ret` keeps the processor's return predictor out of it.
//
// Not kept: the floating-point control registers (mxcsr and the x87 control word,
// fpcr). They belong to the thread, as docs/greenlets.md says. Nor is there a shadow
// stack (CET): the objects are not marked for it, so glibc leaves it off.
namespace grove::green_internal {

// Where a stack that is not running goes on. Unwinders need no more than this: the
// three words are the registers of a frame whose call frame information the compiler
// wrote.
struct Context {
  void* sp = nullptr;
  void* fp = nullptr;
  void* pc = nullptr;
  [[no_unique_address]] SanitizerFiber sanitizer;  // empty but for sanitizers
};

extern "C" void grove_greenlet_entry();

// A context that will call `main(argument)` on the stack that ends at `stack_top`.
// `main` must never return.
inline void MakeContext(Context* context, void* stack_top, void (*main)(void*),
                        void* argument) {
  // Two words for the entry code below: what to call, and with what.
  void** top = static_cast<void**>(stack_top) - 2;
  top[0] = argument;
  top[1] = reinterpret_cast<void*>(main);
  context->sp = top;
  context->fp = nullptr;
  context->pc = reinterpret_cast<void*>(&grove_greenlet_entry);
}

// What whoever goes on gets from whoever switches to it, in registers: who it is, as the
// other one has named it, and two words. What is the same for all stacks of a thread need
// not be fetched from memory by each.
struct Arrival {
  Context* self;
  void* first;
  void* second;
};

// Stores where this stack stands in `from`, and goes on where `to` stands. Returns when
// somebody switches back to `from`. In here nothing may be looked up in memory, for
// ThreadSanitizer takes this for the other stack already.
[[gnu::always_inline]] inline Arrival SwapRegisters(Context* from, Context* to,
                                                    void* first, void* second) {
#if defined(__x86_64__)
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rsp, 0(%[from])\n\t"
      "movq %%rbp, 8(%[from])\n\t"
      "movq %%rax, 16(%[from])\n\t"
      "movq 0(%[to]), %%rsp\n\t"
      "movq 8(%[to]), %%rbp\n\t"
      "jmpq *16(%[to])\n\t"
      "1:\n\t"
      "endbr64"
      : [from] "+S"(from), [to] "+D"(to), "+d"(first), "+c"(second)
      :
      : "rax", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)",
        "st(4)", "st(5)", "st(6)", "st(7)",
#ifdef __AVX512F__
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
        "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2",
        "k3", "k4", "k5", "k6", "k7",
#endif
        "cc", "memory");
#elif defined(__aarch64__)
  register Context* x0 asm("x0") = from;
  register Context* x1 asm("x1") = to;
  register void* x2 asm("x2") = first;
  register void* x3 asm("x3") = second;
  asm volatile(
      "adr x4, 1f\n\t"
      "mov x5, sp\n\t"
      "stp x5, x29, [x0]\n\t"
      "str x4, [x0, #16]\n\t"
      "ldp x5, x29, [x1]\n\t"
      "ldr x4, [x1, #16]\n\t"
      "mov sp, x5\n\t"
      "br x4\n\t"
      "1:\n\t"
      "hint #36"  // bti j
      : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
      :
      : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
        "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26",
        "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9",
        "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20",
        "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31",
#ifdef __ARM_FEATURE_SVE
        "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12",
        "p13", "p14", "p15", "ffr",
#endif
        "cc", "memory");
  to = x1;
  first = x2;
  second = x3;
#else
#error "grove switches stacks on x86-64 and aarch64 only"
#endif
  return {to, first, second};
}

// As SwapRegisters(), telling the sanitizers. With `last`, `from` will never go on.
[[gnu::always_inline]] inline Arrival SwitchContext(Context* from, Context* to,
                                                    void* first = nullptr,
                                                    void* second = nullptr,
                                                    bool last = false) {
  SanitizerBeforeSwitch(&from->sanitizer, to->sanitizer, last);
  const Arrival arrival = SwapRegisters(from, to, first, second);
  SanitizerAfterSwitch(&arrival.self->sanitizer);
  return arrival;
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_CONTEXT_H_
