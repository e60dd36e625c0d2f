#include "grove/patch/coverage.h"

#include <algorithm>
#include <unordered_set>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/registry.h"

namespace grove::patch {
namespace {

using patch_internal::Hook;

struct Family {
  const char* title;
  const char* how;
  absl::Span<Hook* const> hooks;
};

std::vector<Family> Covered() {
  using namespace patch_internal;
  return {
      {"reading, writing and closing",
       "waits for the descriptor; files of a disk are read at once; who closes one ends "
       "the "
       "waits of others for it",
       IoHooks()},
      {"sockets",
       "waits for the descriptor; `connect` to a Unix socket whose queue is full on a "
       "thread of the pool",
       SocketHooks()},
      {"moving between descriptors", "waits for whichever of the two is not ready",
       SpliceHooks()},
      {"waiting for descriptors", "waits for them by the hub's loop", SelectHooks()},
      {"sleeping", "a timer of the hub's; those of zero let others run", TimeHooks()},
      {"names and addresses", "on a thread of the pool", DnsHooks()},
      {"the resolver, users and groups", "on a thread of the pool", ResolverHooks()},
      {"processes",
       "one child by its pidfd; several, `system` and `pclose` on a thread of the pool; "
       "a "
       "forked child goes on with the greenlet that forked",
       ProcessHooks()},
      {"who the process is", "is the hub's thread's call", CredentialsHooks()},
      {"locks of files and what waits for devices",
       "locks are asked for again every ten milliseconds; `fsync` and its like, and "
       "`tcdrain`, on a thread of the pool",
       FileLockHooks()},
      {"queues and semaphores between processes",
       "a POSIX queue is waited for by its descriptor; System V's are asked again every "
       "ten "
       "milliseconds",
       IpcHooks()},
      {"threads", "a thread is a greenlet; it is joined as one", ThreadHooks()},
      {"handlers of pthread_cleanup_push() in C",
       "run when a thread ends by `pthread_exit` or `pthread_cancel`", CleanupHooks()},
      {"stdio: locks of streams", "waits for the stream as a greenlet", StdioLockHooks()},
      {"stdio: reading",
       "waits for the descriptor before libc's buffer is filled; files of a disk are "
       "read "
       "at once",
       StdioReadHooks()},
      {"stdio: writing", "libc's buffer is emptied in steps that do not wait",
       StdioWriteHooks()},
      {"keys of threads", "each greenlet has values of its own", KeyHooks()},
      {"mutexes", "waits at its address", MutexHooks()},
      {"read-write and spin locks", "waits at its address; spins by letting others run",
       RwLockHooks()},
      {"semaphores", "waits at its address", SemaphoreHooks()},
      {"condition variables, barriers, once", "waits at its address", ConditionHooks()},
      {"C11 threads", "as the threads and locks of POSIX, which they are", C11Hooks()},
      {"futexes", "`futex(2)` waits at its address; other system calls pass through",
       FutexHooks()},
      {"signals",
       "handlers end waits, as signal(7) says; what waits for one does so as a greenlet",
       SignalHooks()},
  };
}

}  // namespace

std::vector<CallFamily> CallFamilies() {
  std::vector<CallFamily> families;
  for (const Family& family : Covered()) {
    CallFamily& f = families.emplace_back();
    f.title = family.title;
    f.how = family.how;
    f.covered = true;
    for (const Hook* hook : family.hooks) f.calls.emplace_back(hook->name);
  }
  for (const patch_internal::NotCovered& family : patch_internal::AllNotCovered()) {
    CallFamily& f = families.emplace_back();
    f.title = family.title;
    f.how = family.instead;
    f.covered = false;
    f.calls.assign(family.calls.begin(), family.calls.end());
  }
  for (CallFamily& f : families) std::sort(f.calls.begin(), f.calls.end());
  return families;
}

Coverage CoverageOf(absl::string_view symbol) {
  static const auto* const patched = [] {
    auto* names = new std::unordered_set<std::string>;
    for (const Hook* hook : patch_internal::AllHooks()) names->insert(hook->name);
    return names;
  }();
  if (patched->contains(std::string(symbol))) return Coverage::kPatched;
  return patch_internal::MayBlock(symbol) ? Coverage::kNotCovered : Coverage::kNeedsNone;
}

}  // namespace grove::patch
