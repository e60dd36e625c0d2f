#ifndef GROVE_GREEN_INTERNAL_BACKTRACE_H_
#define GROVE_GREEN_INTERNAL_BACKTRACE_H_

#include <string>

#include "grove/green/internal/context.h"

// Backtraces of stacks that the caller does not stand on: of a greenlet that waits, and
// of what a signal has interrupted. By the C++ runtime's unwinder, which knows the way
// out of libraries that were built without frame pointers. It takes no lock where glibc
// is 2.35 or later and the runtime gcc 12's or later; with older ones, a signal that
// interrupts just that thread's throwing of an exception may end in a deadlock.
//
// What they store are return addresses, the innermost first.
namespace grove::green_internal {

// Of a stack that was switched away from and does not run meanwhile.
int BacktraceOf(const Context& context, void** pcs, int max);

// As BacktraceOf(), of a stack that lies between `low` and `top`, by its frame pointers:
// some fifty times as fast. Returns 0 if they do not lead to where the stack begins, as
// when something on it was built without them.
int FramesOf(const Context& context, const char* low, const char* top, void** pcs,
             int max);

// Of what was interrupted at `pc`, from within the signal's handler. Allocates nothing.
// Where the handler was put off to a later moment, as ThreadSanitizer does, the frames of
// that are kept, and the handler's own before them.
int BacktraceInterrupted(const void* pc, void** pcs, int max);

// "grove::Sleep() (server+0x1f30)". Not for signal handlers.
std::string SymbolOf(void* pc);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_BACKTRACE_H_
