#ifndef GROVE_HUB_LOOP_H_
#define GROVE_HUB_LOOP_H_

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "grove/hub/internal/relaxed.h"

// The event loop beneath a hub, and its watchers. This header hides libev: loop.cc is
// the only file that knows it. The environment variable LIBEV_FLAGS chooses a backend
// as libev documents it (1 select, 2 poll, 4 epoll, ...).
//
// Threads: everything here belongs to the loop's own thread, but for AsyncWatcher::Send.
// Callbacks run on the hub's stack: they must not block, and must not throw.
struct ev_loop;

namespace grove {

class IoWatcher;
class LoopForkNotice;
class LoopWakeup;
class Watcher;

// What an IoWatcher waits for, or has seen. Values combine with |.
enum IoEvents : int {
  kReadable = 1,
  kWritable = 2,
};

// Loop
//
// One event loop.
class Loop {
 public:
  Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();

  // Loop::Poll()
  //
  // Looks for events, once, and calls back those who wait for them. With `wait`, sleeps
  // until there is one, or until the time of WakeAfter().
  void Poll(bool wait);

  // Loop::WakeAfter()
  //
  // Ends a Poll() that waits once `after` has passed; replaces what was set before.
  // It stays set until its time comes, through as many polls as may be. Less than
  // 50 us are 50 us. A poll may end before, without an event.
  void WakeAfter(absl::Duration after);

  // Loop::wake_set()
  //
  // Whether the time of WakeAfter() is still to come.
  bool wake_set() const;

  // Loop::TellOfEachEventOnce()
  //
  // From now on `w`, which is started and stays so, is called once for each event, and
  // not for as long as the descriptor is ready: who does not read it saves a system call.
  // For one watcher of a loop. Polls once. False if this loop cannot do so; and it may
  // tell of an event again when the kernel's side was made anew, as by Reinit(), before
  // which `w` may be given another descriptor.
  bool TellOfEachEventOnce(const IoWatcher& w);

  // Loop::backend()
  //
  // "epoll", "poll", "select", ...
  std::string backend() const;

  // Loop::Reinit()
  //
  // To be called in a forked child: makes the kernel's side anew, and calls ForkWatchers
  // at the next poll.
  void Reinit();

  // Loop::active_watchers()
  //
  // How many watchers of all kinds are started; for leak checks and statistics.
  //
  // Threads: any.
  int active_watchers() const { return active_; }

  // Loop::asleep()
  //
  // Whether it is in the kernel to look for events, and runs nothing.
  //
  // Threads: any.
  bool asleep() const { return looks_ % 2 == 1; }
  // Counts up at the beginning and the end of each such look.
  uint64_t looks() const { return looks_; }

 private:
  friend class IoWatcher;
  friend class Watcher;
  friend struct WatcherCallback;

  // Around the system call that looks for events.
  static void GoesToSleep(struct ev_loop* raw) noexcept;
  static void HasSlept(struct ev_loop* raw) noexcept;

  bool TellOnce();

  // The number that libev's epoll set probably has: libev does not say.
  const int epoll_fd_;
  const IoWatcher* told_once_ = nullptr;  // the one of TellOfEachEventOnce()
  bool rebuilt_ = false;                  // the epoll set, since that was seen to
  struct ev_loop* loop_;
  std::unique_ptr<LoopWakeup> wakeup_;
  std::unique_ptr<LoopForkNotice> fork_notice_;
  hub_internal::Relaxed<int> active_{0};
  hub_internal::Relaxed<uint64_t> looks_{0};
  Watcher* watchers_ = nullptr;  // those that are started
};

// IoWatcher
//
// Calls back while a descriptor is readable or writable (level-triggered, unless
// Loop::TellOfEachEventOnce() was called for it). Kept small and free of allocation, for
// there is one per socket and direction. Start and Stop of an unchanged watcher between
// two polls cost no system call.
class IoWatcher {
 public:
  using Callback = void (*)(void* arg, int events);

  IoWatcher() = default;
  IoWatcher(const IoWatcher&) = delete;
  IoWatcher& operator=(const IoWatcher&) = delete;
  ~IoWatcher() { Stop(); }

  // IoWatcher::Set()
  //
  // What to watch, and whom to call. Not while active.
  void Set(Loop* loop, int fd, int events, Callback callback, void* arg);

  // IoWatcher::Start()
  //
  // False, and nothing is started, if the descriptor is not open: the distribution's
  // libev would end the program over it. (One that is closed by strangers between this
  // call and the next poll still makes it do so.) That look is one fcntl(2).
  [[nodiscard]] bool Start();
  void Stop();
  bool active() const { return active_; }
  // Of what Set() was told.
  int fd() const;

 private:
  friend struct IoWatcherCallback;
  static constexpr size_t kStorage = 48;

  alignas(8) unsigned char ev_[kStorage];  // an ev_io
  Loop* loop_ = nullptr;
  Callback callback_ = nullptr;
  void* arg_ = nullptr;
  bool active_ = false;
};

// Watcher
//
// What the watchers below have in common. They are less frequent, and own their
// callback. Destroying a watcher stops it; so does the end of its loop, which it may
// outlive.
//
//   StatWatcher watcher(&ThisHub().loop(), "/etc/service.conf");
//   watcher.Start([] { Spawn(&ReadSettings); });
class Watcher {
 public:
  using Callback = absl::AnyInvocable<void()>;

  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  virtual ~Watcher();

  // Watcher::Start()
  //
  // Begins to call `callback`. No effect if started. A callback may do so with its own
  // watcher, once that has stopped.
  void Start(Callback callback);
  void Stop();
  bool active() const { return active_; }

 protected:
  explicit Watcher(Loop* loop) : loop_(loop) {}
  virtual void DoStart() = 0;
  virtual void DoStop() = 0;
  // Which may stop the watcher, start it with another callback, or end it.
  void Call() {
    const std::shared_ptr<Callback> callback = callback_;
    (*callback)();
  }
  struct ev_loop* raw_loop() const {
    return loop_->loop_;
  }

  Loop* const loop_;
  std::shared_ptr<Callback> callback_;
  bool active_ = false;

 private:
  friend class Loop;
  friend struct WatcherCallback;

  void Link();
  void Unlink();

  Watcher* previous_ = nullptr;
  Watcher* next_ = nullptr;
};

// A Watcher around one of libev's own structures.
#define GROVE_DECLARE_WATCHER(Name) \
 private:                           \
  friend struct WatcherCallback;    \
  void DoStart() override;          \
  void DoStop() override;           \
  struct Impl;                      \
  std::unique_ptr<Impl> impl_;      \
                                    \
 public:                            \
  ~Name() override

// LoopTimer
//
// The loop's own timer: `after`, then every `repeat` if that is not zero. Hubs have a
// cheaper one (TimerQueue); this one is for code that knows only the loop.
class LoopTimer : public Watcher {
  GROVE_DECLARE_WATCHER(LoopTimer);
  LoopTimer(Loop* loop, absl::Duration after,
            absl::Duration repeat = absl::ZeroDuration());
};

// SignalWatcher
//
// Calls back when the process has got a signal. A signal can be watched by one loop of
// a process at a time; a second one is a fatal error.
class SignalWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(SignalWatcher);
  SignalWatcher(Loop* loop, int signum);
};

// AsyncWatcher
//
// Calls back after Send(). Several sends before the loop looks are one call.
class AsyncWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(AsyncWatcher);
  explicit AsyncWatcher(Loop* loop);

  // Threads: any thread, and signal handlers; while the watcher and its loop live.
  void Send();
};

// ChildWatcher
//
// Calls back once, when the child process `pid` has ended. By a pidfd (pidfd_open(2)),
// so that it works on any loop, takes no SIGCHLD, and reaps no one: call waitid() after.
// If there is no such child, valid() is false and Start is a fatal error.
class ChildWatcher : public Watcher {
 public:
  ChildWatcher(Loop* loop, pid_t pid);
  ~ChildWatcher() override;
  bool valid() const { return pidfd_ >= 0; }

 private:
  void DoStart() override;
  void DoStop() override;
  int pidfd_;
  IoWatcher io_;
};

// StatWatcher
//
// Calls back when what stat(2) says of a path has changed (inotify where possible,
// else looked at every `interval`).
class StatWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(StatWatcher);
  StatWatcher(Loop* loop, std::string path,
              absl::Duration interval = absl::ZeroDuration());

  // StatWatcher::now(), StatWatcher::before()
  //
  // The latest look, and the one before it. st_nlink is 0 if the path was not there.
  const struct stat& now() const;
  const struct stat& before() const;
};

// IdleWatcher
//
// Calls back at each poll that found nothing else to do. While one is active the loop
// does not sleep.
class IdleWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(IdleWatcher);
  explicit IdleWatcher(Loop* loop);
};

// PrepareWatcher and CheckWatcher
//
// Call back before the loop looks for events, and after it.
class PrepareWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(PrepareWatcher);
  explicit PrepareWatcher(Loop* loop);
};

class CheckWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(CheckWatcher);
  explicit CheckWatcher(Loop* loop);
};

// ForkWatcher
//
// Calls back in a forked child, after Loop::Reinit().
class ForkWatcher : public Watcher {
  GROVE_DECLARE_WATCHER(ForkWatcher);
  explicit ForkWatcher(Loop* loop);
};

#undef GROVE_DECLARE_WATCHER

}  // namespace grove

#endif  // GROVE_HUB_LOOP_H_
