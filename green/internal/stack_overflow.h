#ifndef GROVE_GREEN_INTERNAL_STACK_OVERFLOW_H_
#define GROVE_GREEN_INTERNAL_STACK_OVERFLOW_H_

namespace grove::green_internal {

// Makes an overflow of a greenlet's stack say which greenlet, how large its stack is and
// where it was, before the process dies as it would have: a handler for SIGSEGV on an
// alternate stack, which hands everything else to the handler that was there before.
//
// Once per process for the handler, once per thread for the alternate stack (an existing
// one is kept).
void InstallOverflowReport();

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_STACK_OVERFLOW_H_
