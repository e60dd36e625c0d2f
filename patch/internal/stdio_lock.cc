// flockfile(3), and what each call on a stream does of it by itself.

#include "grove/patch/internal/stdio_lock.h"

#include <atomic>
#include <map>
#include <mutex>
#include <new>

#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/spin_mutex.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;

void FLockFile(FILE* f);
int FTryLockFile(FILE* f);
void FUnlockFile(FILE* f);

constinit HookOf lock_hook("flockfile", Module::kStdio, &FLockFile);
constinit HookOf trylock_hook("ftrylockfile", Module::kStdio, &FTryLockFile);
constinit HookOf unlock_hook("funlockfile", Module::kStdio, &FUnlockFile);

Hook* const hooks[] = {&lock_hook, &trylock_hook, &unlock_hook};

// The streams that greenlets are in: a few at most.
class Inside {
 public:
  static Inside& Get() {
    static Inside* const inside = new Inside;  // used until the process has ended
    return *inside;
  }

  bool Enter(const FILE* f, Core* core) {
    const std::lock_guard guard(lock_);
    Holder& holder = holders_[f];
    if (holder.depth > 0 && holder.core != core) return false;
    holder.core = core;
    ++holder.depth;
    count_.store(holders_.size(), std::memory_order_relaxed);
    return true;
  }
  // Whether others may now come in.
  bool Leave(const FILE* f, const Core* core) {
    const std::lock_guard guard(lock_);
    const auto holder = holders_.find(f);
    if (holder == holders_.end() || holder->second.core != core) return false;
    if (--holder->second.depth > 0) return false;
    holders_.erase(holder);
    count_.store(holders_.size(), std::memory_order_relaxed);
    return true;
  }
  bool Holds(const FILE* f, const Core* core) {
    const std::lock_guard guard(lock_);
    const auto holder = holders_.find(f);
    return holder != holders_.end() && holder->second.core == core;
  }
  bool Forget(const FILE* f, const Core* core) {
    const std::lock_guard guard(lock_);
    const auto holder = holders_.find(f);
    if (holder == holders_.end() || holder->second.core != core) return false;
    holders_.erase(holder);
    count_.store(holders_.size(), std::memory_order_relaxed);
    return true;
  }
  bool Any() const { return count_.load(std::memory_order_relaxed) > 0; }

  void KeepOnly(const Core* core) {
    new (&lock_) SpinMutex;  // whoever had it is not here
    std::erase_if(holders_, [&](const auto& h) { return h.second.core != core; });
    count_.store(holders_.size(), std::memory_order_relaxed);
  }

 private:
  struct Holder {
    Core* core = nullptr;
    unsigned depth = 0;
  };
  SpinMutex lock_;
  std::map<const FILE*, Holder> holders_;
  std::atomic<size_t> count_ = 0;
};

// A greenlet does not take libc's own lock: it may wait while it has this one, and who
// calls what is not patched, clearerr(3) and the like, would stop all of its thread.
void FLockFile(FILE* f) {
  Scheduler* s = Cooperating(lock_hook);
  if (s == nullptr) return lock_hook.Original(f);
  lock_hook.CountCall();
  LockStream(*s, lock_hook, f);
}

int FTryLockFile(FILE* f) {
  Scheduler* s = Cooperating(trylock_hook);
  if (s == nullptr) return trylock_hook.Original(f);
  trylock_hook.CountCall();
  LetOthersRun(*s);
  if (!TryLockStream(*s, f)) return -1;
  // A thread without a hub may be in it.
  if (trylock_hook.Original(f) == 0) {
    unlock_hook.Original(f);
    return 0;
  }
  UnlockStream(*s, f);
  return -1;
}

void FUnlockFile(FILE* f) {
  Scheduler* s = Scheduler::GetIfExists();
  // Or it was locked where nothing is patched, or before there was a hub.
  if (s == nullptr || !Inside::Get().Holds(f, s->current())) {
    return unlock_hook.Original(f);
  }
  unlock_hook.CountCall();
  UnlockStream(*s, f);
}

}  // namespace

void LockStream(Scheduler& s, Hook& hook, FILE* f) {
  Inside& inside = Inside::Get();
  Core* const core = s.current();
  if (inside.Enter(f, core)) return;
  hook.CountWait();
  bool mine = false;
  while (!mine) {
    ParkAt(
        s, f,
        [&] {
          mine = inside.Enter(f, core);
          return !mine;
        },
        {}, hook.name);
  }
}

bool TryLockStream(Scheduler& s, FILE* f) { return Inside::Get().Enter(f, s.current()); }

void UnlockStream(Scheduler& s, FILE* f) {
  if (Inside::Get().Leave(f, s.current())) WakeAt(f, 1);
}

void ForgetStream(Scheduler& s, const FILE* f) {
  if (Inside::Get().Forget(f, s.current())) WakeAt(f, 1);
}

bool AnyStreamIsLocked() { return Inside::Get().Any(); }

void LockNative(FILE* f) { lock_hook.Original(f); }
void UnlockNative(FILE* f) { unlock_hook.Original(f); }

void ForgetStreamsInChild(Scheduler& s) { Inside::Get().KeepOnly(s.current()); }

absl::Span<Hook* const> StdioLockHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
