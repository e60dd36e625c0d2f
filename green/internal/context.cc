#include "grove/green/internal/context.h"

// The first code on a new stack. MakeContext() left an argument and a function at the
// top. The function is jumped to, not called, with a return address of zero: there is no
// caller, which stops unwinders, and a call that never returns would put the processor's
// stack of return addresses out of step, which costs whoever runs next a misprediction
// for each of its returns.
#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_greenlet_entry
  .type grove_greenlet_entry, @function
grove_greenlet_entry:
  .cfi_startproc
  .cfi_undefined rip
  endbr64
  popq %rdi
  popq %rax
  xorl %ebp, %ebp
  pushq $0
  jmpq *%rax
  .cfi_endproc
  .size grove_greenlet_entry, . - grove_greenlet_entry
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_greenlet_entry
  .type grove_greenlet_entry, %function
grove_greenlet_entry:
  .cfi_startproc
  .cfi_undefined x30
  hint #36  // bti j
  ldp x0, x1, [sp], #16
  mov x29, xzr
  mov x30, xzr
  br x1
  .cfi_endproc
  .size grove_greenlet_entry, . - grove_greenlet_entry
)");
#endif
