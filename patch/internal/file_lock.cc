// flock(2), lockf(3) and fcntl(2)'s record locks; fsync(2), tcdrain(3) and their like.

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

#include "grove/patch/internal/ask_again.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/on_another_thread.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

int FLock(int fd, int operation);
int LockF(int fd, int command, off_t size);
int LockF64(int fd, int command, off64_t size);
// Variable arguments are passed as others are, and there is one at most.
int FCntl(int fd, int command, void* arg);
int FCntl64(int fd, int command, void* arg);
int FSync(int fd);
int FDataSync(int fd);
int SyncFs(int fd);
void Sync();
int TcDrain(int fd);

constinit HookOf flock_hook("flock", Module::kOs, &FLock);
constinit HookOf lockf_hook("lockf", Module::kOs, &LockF);
constinit HookOf lockf64_hook("lockf64", Module::kOs, &LockF64);
constinit HookOf fcntl_hook("fcntl", Module::kOs, &FCntl);
constinit HookOf fcntl64_hook("fcntl64", Module::kOs, &FCntl64);
constinit HookOf fsync_hook("fsync", Module::kOs, &FSync);
constinit HookOf fdatasync_hook("fdatasync", Module::kOs, &FDataSync);
constinit HookOf syncfs_hook("syncfs", Module::kOs, &SyncFs);
constinit HookOf sync_hook("sync", Module::kOs, &Sync);
constinit HookOf tcdrain_hook("tcdrain", Module::kOs, &TcDrain);

Hook* const hooks[] = {&flock_hook,   &lockf_hook,  &lockf64_hook,   &fcntl_hook,
                       &fcntl64_hook, &fsync_hook,  &fdatasync_hook, &syncfs_hook,
                       &sync_hook,    &tcdrain_hook};

// Record locks that are taken say either.
int AsEagain(int result) {
  if (result < 0 && errno == EACCES) errno = EAGAIN;
  return result;
}

template <typename Attempt>
int Lock(Scheduler& s, Hook& hook, Attempt attempt) {
  return static_cast<int>(AskAgain(s, hook, {}, Restart::kByHandler, attempt));
}

int FLock(int fd, int operation) {
  Scheduler* s = Cooperating(flock_hook);
  // EWOULDBLOCK is the same as EAGAIN.
  if (s == nullptr || (operation & (LOCK_NB | LOCK_UN)) != 0) {
    return flock_hook.Original(fd, operation);
  }
  return Lock(*s, flock_hook,
              [&] { return flock_hook.Original(fd, operation | LOCK_NB); });
}

int LockF(int fd, int command, off_t size) {
  Scheduler* s = Cooperating(lockf_hook);
  if (s == nullptr || command != F_LOCK) return lockf_hook.Original(fd, command, size);
  return Lock(*s, lockf_hook,
              [&] { return AsEagain(lockf_hook.Original(fd, F_TLOCK, size)); });
}

int LockF64(int fd, int command, off64_t size) {
  Scheduler* s = Cooperating(lockf64_hook);
  if (s == nullptr || command != F_LOCK) return lockf64_hook.Original(fd, command, size);
  return Lock(*s, lockf64_hook,
              [&] { return AsEagain(lockf64_hook.Original(fd, F_TLOCK, size)); });
}

template <typename OwnHook>
int FCntlCooperatively(OwnHook& hook, int fd, int command, void* arg) {
  if (command != F_SETLKW && command != F_OFD_SETLKW) {
    return hook.Original(fd, command, arg);
  }
  Scheduler* s = Cooperating(hook);
  if (s == nullptr) return hook.Original(fd, command, arg);
  const int at_once = command == F_SETLKW ? F_SETLK : F_OFD_SETLK;
  return Lock(*s, hook, [&] { return AsEagain(hook.Original(fd, at_once, arg)); });
}
int FCntl(int fd, int command, void* arg) {
  return FCntlCooperatively(fcntl_hook, fd, command, arg);
}
int FCntl64(int fd, int command, void* arg) {
  return FCntlCooperatively(fcntl64_hook, fd, command, arg);
}

// --- what waits for a device ---

template <typename OwnHook>
int OfDescriptor(OwnHook& hook, int fd) {
  if (Cooperating(hook) == nullptr) return hook.Original(fd);
  hook.CountCall();
  return OnAnotherThread(hook, [&] { return hook.Original(fd); });
}
int FSync(int fd) { return OfDescriptor(fsync_hook, fd); }
int FDataSync(int fd) { return OfDescriptor(fdatasync_hook, fd); }
int SyncFs(int fd) { return OfDescriptor(syncfs_hook, fd); }
int TcDrain(int fd) { return OfDescriptor(tcdrain_hook, fd); }

void Sync() {
  if (Cooperating(sync_hook) == nullptr) return sync_hook.Original();
  sync_hook.CountCall();
  OnAnotherThread(sync_hook, [] {
    sync_hook.Original();
    return 0;
  });
}

}  // namespace

absl::Span<Hook* const> FileLockHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
