#include "grove/green/internal/context.h"

// The first code on a new stack. MakeContext() left an argument and a function at the
// top. The return address is declared undefined, which is how unwinders are told that
// there is no caller: they stop here.
#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_greenlet_entry
  .hidden grove_greenlet_entry
  .type grove_greenlet_entry, @function
grove_greenlet_entry:
  .cfi_startproc
  .cfi_undefined rip
  endbr64
  popq %rdi
  popq %rax
  xorl %ebp, %ebp
  callq *%rax
  ud2
  .cfi_endproc
  .size grove_greenlet_entry, . - grove_greenlet_entry
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .p2align 4
  .globl grove_greenlet_entry
  .hidden grove_greenlet_entry
  .type grove_greenlet_entry, %function
grove_greenlet_entry:
  .cfi_startproc
  .cfi_undefined x30
  hint #36
  ldp x0, x1, [sp], #16
  mov x29, xzr
  mov x30, xzr
  blr x1
  brk #1
  .cfi_endproc
  .size grove_greenlet_entry, . - grove_greenlet_entry
)");
#endif
