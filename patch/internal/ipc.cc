// Message queues of POSIX (mq_overview(7)), and semaphores and message queues of System
// V.

#include <errno.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "grove/patch/internal/ask_again.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/on_another_thread.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/timespec.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

ssize_t MqReceive(mqd_t queue, char* buffer, size_t size, unsigned* priority);
ssize_t MqTimedReceive(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                       const timespec* when);
int MqSend(mqd_t queue, const char* data, size_t size, unsigned priority);
int MqTimedSend(mqd_t queue, const char* data, size_t size, unsigned priority,
                const timespec* when);
ssize_t MsgRcv(int queue, void* message, size_t size, long type, int flags);
int MsgSnd(int queue, const void* message, size_t size, int flags);
int SemOp(int set, sembuf* operations, size_t count);
int SemTimedOp(int set, sembuf* operations, size_t count, const timespec* timeout);

constinit HookOf mq_receive_hook("mq_receive", Module::kOs, &MqReceive);
constinit HookOf mq_timedreceive_hook("mq_timedreceive", Module::kOs, &MqTimedReceive);
constinit HookOf mq_send_hook("mq_send", Module::kOs, &MqSend);
constinit HookOf mq_timedsend_hook("mq_timedsend", Module::kOs, &MqTimedSend);
constinit HookOf msgrcv_hook("msgrcv", Module::kOs, &MsgRcv);
constinit HookOf msgsnd_hook("msgsnd", Module::kOs, &MsgSnd);
constinit HookOf semop_hook("semop", Module::kOs, &SemOp);
constinit HookOf semtimedop_hook("semtimedop", Module::kOs, &SemTimedOp);

Hook* const hooks[] = {&mq_receive_hook,   &mq_timedreceive_hook, &mq_send_hook,
                       &mq_timedsend_hook, &msgrcv_hook,          &msgsnd_hook,
                       &semop_hook,        &semtimedop_hook};

// --- POSIX: a queue is a descriptor, which tells when it is ready ---

// `attempt` waits until a moment that has passed.
template <typename Attempt>
ssize_t WithQueue(Scheduler& s, Hook& hook, mqd_t queue, short events, Deadline deadline,
                  Attempt attempt) {
  hook.CountCall();
  LetOthersRun(s);
  ActOnCancel(s);
  ssize_t n = attempt();
  if (n >= 0 || errno != ETIMEDOUT) return n;
  hook.CountWait();
  SignalWatch signal(s, Restart::kByHandler);
  for (;;) {
    const WaitEnd end = Wait(s, queue, events, deadline, hook.name, &signal);
    if (end == WaitEnd::kInterrupted || end == WaitEnd::kClosed) return Fail(end);
    n = attempt();
    if (n >= 0 || errno != ETIMEDOUT || end == WaitEnd::kDeadline) return n;
    if (end == WaitEnd::kSignal) return Fail(end);
  }
}

constexpr timespec kPassed = {};

ssize_t ReceiveUntil(Scheduler& s, Hook& hook, mqd_t queue, char* buffer, size_t size,
                     unsigned* priority, Deadline deadline) {
  return WithQueue(s, hook, queue, POLLIN, deadline, [&] {
    return mq_timedreceive_hook.Original(queue, buffer, size, priority, &kPassed);
  });
}

ssize_t MqReceive(mqd_t queue, char* buffer, size_t size, unsigned* priority) {
  Scheduler* s = Cooperating(mq_receive_hook);
  if (s == nullptr) return mq_receive_hook.Original(queue, buffer, size, priority);
  return ReceiveUntil(*s, mq_receive_hook, queue, buffer, size, priority, {});
}

ssize_t MqTimedReceive(mqd_t queue, char* buffer, size_t size, unsigned* priority,
                       const timespec* when) {
  Scheduler* s = Cooperating(mq_timedreceive_hook);
  if (s == nullptr || !IsValidTimeout(when)) {
    return mq_timedreceive_hook.Original(queue, buffer, size, priority, when);
  }
  return ReceiveUntil(*s, mq_timedreceive_hook, queue, buffer, size, priority,
                      when ? DeadlineAt(CLOCK_REALTIME, *when) : Deadline());
}

int SendUntil(Scheduler& s, Hook& hook, mqd_t queue, const char* data, size_t size,
              unsigned priority, Deadline deadline) {
  return static_cast<int>(WithQueue(s, hook, queue, POLLOUT, deadline, [&] {
    return mq_timedsend_hook.Original(queue, data, size, priority, &kPassed);
  }));
}

int MqSend(mqd_t queue, const char* data, size_t size, unsigned priority) {
  Scheduler* s = Cooperating(mq_send_hook);
  if (s == nullptr) return mq_send_hook.Original(queue, data, size, priority);
  return SendUntil(*s, mq_send_hook, queue, data, size, priority, {});
}

int MqTimedSend(mqd_t queue, const char* data, size_t size, unsigned priority,
                const timespec* when) {
  Scheduler* s = Cooperating(mq_timedsend_hook);
  if (s == nullptr || !IsValidTimeout(when)) {
    return mq_timedsend_hook.Original(queue, data, size, priority, when);
  }
  return SendUntil(*s, mq_timedsend_hook, queue, data, size, priority,
                   when ? DeadlineAt(CLOCK_REALTIME, *when) : Deadline());
}

// --- System V ---

// Of what is removed between two attempts the kernel knows nothing any more; who waits
// for it is told.
class Attempts {
 public:
  ssize_t Of(ssize_t n) {
    if (n < 0 && errno == EINVAL && made_ > 0) errno = EIDRM;
    ++made_;
    return n;
  }

 private:
  int made_ = 0;
};

ssize_t MsgRcv(int queue, void* message, size_t size, long type, int flags) {
  Scheduler* s = Cooperating(msgrcv_hook);
  if (s == nullptr || (flags & IPC_NOWAIT) != 0) {
    return msgrcv_hook.Original(queue, message, size, type, flags);
  }
  Attempts attempts;
  return AskAgain(*s, msgrcv_hook, {}, Restart::kNever, [&] {
    const ssize_t n =
        attempts.Of(msgrcv_hook.Original(queue, message, size, type, flags | IPC_NOWAIT));
    if (n < 0 && errno == ENOMSG) errno = EAGAIN;
    return n;
  });
}

int MsgSnd(int queue, const void* message, size_t size, int flags) {
  Scheduler* s = Cooperating(msgsnd_hook);
  if (s == nullptr || (flags & IPC_NOWAIT) != 0) {
    return msgsnd_hook.Original(queue, message, size, flags);
  }
  Attempts attempts;
  return static_cast<int>(AskAgain(*s, msgsnd_hook, {}, Restart::kNever, [&] {
    return attempts.Of(msgsnd_hook.Original(queue, message, size, flags | IPC_NOWAIT));
  }));
}

// Where only some of the operations may wait, the kernel alone can say which one it is.
template <typename OwnHook, typename Original>
int Operate(Scheduler& s, OwnHook& hook, int set, const sembuf* operations, size_t count,
            Deadline deadline, Original original) {
  const auto at_once = [](const sembuf& op) { return (op.sem_flg & IPC_NOWAIT) != 0; };
  const auto waiting =
      count - static_cast<size_t>(std::count_if(operations, operations + count, at_once));
  if (waiting == 0) return original();
  if (waiting < count) {
    hook.CountCall();
    return OnAnotherThread(hook, original);
  }
  absl::InlinedVector<sembuf, 8> now(operations, operations + count);
  for (sembuf& op : now) op.sem_flg |= IPC_NOWAIT;
  Attempts attempts;
  return static_cast<int>(AskAgain(s, hook, deadline, Restart::kNever, [&] {
    return attempts.Of(semop_hook.Original(set, now.data(), count));
  }));
}

int SemOp(int set, sembuf* operations, size_t count) {
  const auto original = [&] { return semop_hook.Original(set, operations, count); };
  Scheduler* s = Cooperating(semop_hook);
  // More than the kernel takes is its to say (semop(2)).
  if (s == nullptr || count == 0 || count > 500) return original();
  return Operate(*s, semop_hook, set, operations, count, {}, original);
}

int SemTimedOp(int set, sembuf* operations, size_t count, const timespec* timeout) {
  const auto original = [&] {
    return semtimedop_hook.Original(set, operations, count, timeout);
  };
  Scheduler* s = Cooperating(semtimedop_hook);
  if (s == nullptr || count == 0 || count > 500 || !IsValidTimeout(timeout)) {
    return original();
  }
  return Operate(*s, semtimedop_hook, set, operations, count, DeadlineOf(timeout),
                 original);
}

}  // namespace

absl::Span<Hook* const> IpcHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
