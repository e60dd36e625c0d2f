#ifndef GROVE_PATCH_INTERNAL_RAW_CALLS_H_
#define GROVE_PATCH_INTERNAL_RAW_CALLS_H_

#include <optional>

namespace grove::patch::patch_internal {

// SyscallByWrapper()
//
// What syscall(2) is to return of a call for which libc has a function that takes the
// same arguments, and that is patched: what that function does. Nothing for all others.
std::optional<long> SyscallByWrapper(long number, long a, long b, long c, long d, long e,
                                     long f);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_RAW_CALLS_H_
