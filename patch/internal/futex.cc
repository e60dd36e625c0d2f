// syscall(2): futex(2), which std::future, std::atomic::wait(), std::latch, semaphores of
// C++ and the guards of static variables wait by; and what has a function of its own.

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>

#include "absl/time/time.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/io.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/process_shared.h"
#include "grove/patch/internal/raw_calls.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

// Of at most six arguments, which all are passed in registers, as variable ones are too.
long Syscall(long number, long a, long b, long c, long d, long e, long f);

constinit HookOf syscall_hook("syscall", Module::kThread, &Syscall);
Hook* const hooks[] = {&syscall_hook};

long Fail(int error) {
  errno = error;
  return -1;
}

long FutexWait(Scheduler& s, uint32_t* word, uint32_t expected, Deadline deadline,
               bool is_private) {
  syscall_hook.CountWait();
  const auto unchanged = [&] {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST) == expected;
  };
  const Deadline look = is_private ? deadline : LookAgain(deadline);
  SignalWatch signal(s, Restart::kByHandler);
  switch (ParkAt(
      s, word, unchanged, look, "futex", /*cancellable=*/false, [] { return true; },
      &signal)) {
    case ParkedEnd::kWoken:
    case ParkedEnd::kHandedOver:
      return 0;
    case ParkedEnd::kDeadline:
      if (look < deadline) return 0;  // for no reason, which futex(2) allows
      return Fail(ETIMEDOUT);
    case ParkedEnd::kSignal:
      return Fail(EINTR);
    case ParkedEnd::kInvalid:
      return Fail(EAGAIN);
  }
  return 0;
}

long Syscall(long number, long a, long b, long c, long d, long e, long f) {
  if (number != SYS_futex) {
    if (const auto closed = SyscallThatCloses(number, a, b, c)) return *closed;
    if (const auto done = SyscallByWrapper(number, a, b, c, d, e, f)) return *done;
    return syscall_hook.Original(number, a, b, c, d, e, f);
  }
  auto* const word = reinterpret_cast<uint32_t*>(a);
  const auto* const timeout = reinterpret_cast<const timespec*>(d);
  const long command = b & FUTEX_CMD_MASK;
  if (command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET) {
    const auto count = static_cast<int>(c);
    const size_t woken = count > 0 ? WakeAt(word, static_cast<size_t>(count)) : 0;
    if (static_cast<long>(woken) >= count) return static_cast<long>(woken);
    const long more =
        syscall_hook.Original(number, a, b, count - static_cast<long>(woken), d, e, f);
    return more < 0 ? more : more + static_cast<long>(woken);
  }
  if (command == FUTEX_REQUEUE || command == FUTEX_CMP_REQUEUE ||
      command == FUTEX_WAKE_OP) {
    // The kernel does not know the greenlets that wait: they look by themselves. A wakeup
    // too many is allowed (futex(2)).
    const long result = syscall_hook.Original(number, a, b, c, d, e, f);
    if (result < 0) return result;
    WakeAt(word, SIZE_MAX);
    if (command == FUTEX_WAKE_OP) WakeAt(reinterpret_cast<uint32_t*>(e), SIZE_MAX);
    return result;
  }
  const bool waits = command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET;
  Scheduler* s = waits ? Cooperating(syscall_hook) : nullptr;
  if (s == nullptr || (timeout && !IsValid(timeout))) {
    return syscall_hook.Original(number, a, b, c, d, e, f);
  }
  const bool is_private = (b & FUTEX_PRIVATE_FLAG) != 0;
  if (command == FUTEX_WAIT) {
    syscall_hook.CountCall();
    return FutexWait(
        *s, word, static_cast<uint32_t>(c),
        timeout ? Deadline(absl::DurationFromTimespec(*timeout)) : Deadline(),
        is_private);
  }
  if (command == FUTEX_WAIT_BITSET &&
      static_cast<uint32_t>(f) == FUTEX_BITSET_MATCH_ANY) {
    syscall_hook.CountCall();
    const clockid_t clock = b & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    return FutexWait(*s, word, static_cast<uint32_t>(c),
                     timeout ? DeadlineAt(clock, *timeout) : Deadline(), is_private);
  }
  return syscall_hook.Original(number, a, b, c, d, e, f);
}

}  // namespace

absl::Span<Hook* const> FutexHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
