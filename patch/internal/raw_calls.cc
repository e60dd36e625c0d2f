#include "grove/patch/internal/raw_calls.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "grove/patch/internal/hook.h"

namespace grove::patch::patch_internal {
namespace {

// What the function returns, which the kernel's call returns as a long.
enum class Returns : uint8_t {
  kLong,   // ssize_t
  kInt,    // of which a register may have more bits than count
  kError,  // an errno, and not -1
};

struct Wrapper {
  long number;
  const char* name;
  Returns returns;
  // Which argument, from 1 on, is a set of signals: the kernel's is smaller than libc's,
  // so the function is for those only who give none.
  int signals = 0;
};

constexpr Wrapper kWrappers[] = {
    {SYS_read, "read", Returns::kLong},
    {SYS_write, "write", Returns::kLong},
    {SYS_readv, "readv", Returns::kLong},
    {SYS_writev, "writev", Returns::kLong},
    {SYS_recvfrom, "recvfrom", Returns::kLong},
    {SYS_recvmsg, "recvmsg", Returns::kLong},
    {SYS_recvmmsg, "recvmmsg", Returns::kInt},
    {SYS_sendto, "sendto", Returns::kLong},
    {SYS_sendmsg, "sendmsg", Returns::kLong},
    {SYS_sendmmsg, "sendmmsg", Returns::kInt},
    {SYS_accept, "accept", Returns::kInt},
    {SYS_accept4, "accept4", Returns::kInt},
    {SYS_connect, "connect", Returns::kInt},
#ifdef SYS_poll  // newer architectures have the longer forms only
    {SYS_poll, "poll", Returns::kInt},
    {SYS_select, "select", Returns::kInt},
    {SYS_epoll_wait, "epoll_wait", Returns::kInt},
    {SYS_pause, "pause", Returns::kInt},
#endif
    {SYS_ppoll, "ppoll", Returns::kInt, 4},
    {SYS_epoll_pwait, "epoll_pwait", Returns::kInt, 5},
    {SYS_nanosleep, "nanosleep", Returns::kInt},
    {SYS_clock_nanosleep, "clock_nanosleep", Returns::kError},
    {SYS_sched_yield, "sched_yield", Returns::kInt},
    {SYS_wait4, "wait4", Returns::kInt},
    {SYS_flock, "flock", Returns::kInt},
    {SYS_fsync, "fsync", Returns::kInt},
    {SYS_fdatasync, "fdatasync", Returns::kInt},
    {SYS_msgsnd, "msgsnd", Returns::kInt},
    {SYS_msgrcv, "msgrcv", Returns::kLong},
    {SYS_semop, "semop", Returns::kInt},
    {SYS_semtimedop, "semtimedop", Returns::kInt},
    {SYS_sendfile, "sendfile", Returns::kLong},
    {SYS_splice, "splice", Returns::kLong},
    {SYS_tee, "tee", Returns::kLong},
    {SYS_vmsplice, "vmsplice", Returns::kLong},
};
constexpr long kNumbers = 512;

struct Entry {
  const Wrapper* wrapper = nullptr;
  Hook* hook = nullptr;
};

// By number; made when the first call comes, or before in a program that is about to be
// patched: a signal's handler may be next.
const std::array<Entry, kNumbers>& Entries() {
  static const auto* const entries = [] {
    auto* const made = new std::array<Entry, kNumbers>;
    const std::vector<Hook*> hooks = AllHooks();
    for (const Wrapper& wrapper : kWrappers) {
      for (Hook* hook : hooks) {
        if (std::string(hook->name) != wrapper.name) continue;
        (*made)[static_cast<size_t>(wrapper.number)] = {&wrapper, hook};
      }
    }
    return made;
  }();
  return *entries;
}
[[maybe_unused]] const bool made_early = (Entries(), true);

}  // namespace

std::optional<long> SyscallByWrapper(long number, long a, long b, long c, long d, long e,
                                     long f) {
  if (number < 0 || number >= kNumbers) return std::nullopt;
  const Entry& entry = Entries()[static_cast<size_t>(number)];
  if (entry.hook == nullptr || !entry.hook->everywhere.load(std::memory_order_relaxed)) {
    return std::nullopt;
  }
  const Wrapper& wrapper = *entry.wrapper;
  if ((wrapper.signals == 4 && d != 0) || (wrapper.signals == 5 && e != 0)) {
    return std::nullopt;
  }
  // All arguments are integers and pointers, which are passed in six registers; a
  // function that takes fewer does not look at the rest.
  using Function = long (*)(long, long, long, long, long, long);
  const long result =
      reinterpret_cast<Function>(entry.hook->replacement())(a, b, c, d, e, f);
  switch (wrapper.returns) {
    case Returns::kLong:
      return result;
    case Returns::kInt:
      return static_cast<int>(result);
    case Returns::kError:
      if (static_cast<int>(result) == 0) return 0;
      errno = static_cast<int>(result);
      return -1;
  }
  return std::nullopt;
}

}  // namespace grove::patch::patch_internal
