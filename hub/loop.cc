#include "grove/hub/loop.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "absl/base/optimization.h"
#include "grove/hub/clock.h"
#include "grove/hub/config.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/edge_trigger.h"

namespace grove {
namespace {

enum class Backend : unsigned {
  kAuto = EVFLAG_AUTO,
  kSelect = EVBACKEND_SELECT,
  kPoll = EVBACKEND_POLL,
  kEpoll = EVBACKEND_EPOLL,
};
constexpr Choice<Backend> kBackends[] = {
    {"auto", Backend::kAuto},
    {"select", Backend::kSelect},
    {"poll", Backend::kPoll},
    {"epoll", Backend::kEpoll},
};
constinit Setting<Backend> loop_backend(
    "loop_backend", "GROVE_LOOP_BACKEND", "auto",
    "How loops ask the kernel; auto leaves it to libev, which looks at LIBEV_FLAGS.",
    kBackends);

constinit ForeignSetting libev_flags(
    "LIBEV_FLAGS", "What loops use if loop_backend is auto, as a number of libev's.",
    "what ev.h says of EVBACKEND_ and EVFLAG_; libev reads it for each loop");

const bool declared = Config::Declare({&loop_backend, &libev_flags});

// libev calls this when a system call of its own fails; the message names the call.
void LibevFailed(const char* message) noexcept {
  GROVE_FATAL("the event loop failed: ", message, ": ", strerror(errno));
}

struct ev_loop* NewLoop() {
  ev_set_syserr_cb(&LibevFailed);
  const Backend backend = loop_backend.Get();
  struct ev_loop* loop = ev_loop_new(backend == Backend::kAuto
                                         ? static_cast<unsigned>(EVFLAG_AUTO)
                                         : static_cast<unsigned>(backend) | EVFLAG_NOENV);
  GROVE_CHECK(loop != nullptr, "libev made no event loop (loop_backend is ",
              backend == Backend::kAuto ? "" : "not ", "auto, LIBEV_FLAGS=",
              getenv("LIBEV_FLAGS") ? getenv("LIBEV_FLAGS") : "unset",
              ", descriptors exhausted?): ", strerror(errno));
  return loop;
}

}  // namespace

// What ends a Poll() that waits. libev rounds up to milliseconds, as epoll_wait(2) does.
// So it is asked to come early, and the rest, as whatever is to come soon, has a
// timerfd(2), at the price of a system call.
class LoopWakeup {
 public:
  explicit LoopWakeup(struct ev_loop* loop) : loop_(loop) {
    const auto comes_early = [](struct ev_loop*, ev_timer* timer, int) {
      auto* self = static_cast<LoopWakeup*>(timer->data);
      self->state_ = self->fd_ < 0 ? State::kIdle : State::kNear;
    };
    ev_timer_init(&timer_, comes_early, 0., 0.);
    timer_.data = this;
    Open();
  }
  ~LoopWakeup() {
    ev_timer_stop(loop_, &timer_);
    Close();
  }

  void Arm(absl::Duration after) {
    when_ = Clock::ReadMonotonic() + absl::ToInt64Nanoseconds(after);
    ev_timer_stop(loop_, &timer_);
    if (fd_ >= 0 && after < kSoon) {
      Set(std::max(after, kSlack));
      return;
    }
    if (state_ == State::kSet || state_ == State::kHasCome) Unset();
    ev_now_update(loop_);
    ev_timer_set(&timer_, absl::ToDoubleSeconds(fd_ < 0 ? after : after - kEarly), 0.);
    ev_timer_start(loop_, &timer_);
    state_ = State::kFar;
  }

  bool armed() const { return state_ != State::kIdle && state_ != State::kHasCome; }

  void WillWait() {
    if (state_ == State::kNear) {
      const MonotonicNanos left = when_ - Clock::ReadMonotonic();
      Set(absl::Nanoseconds(std::max<MonotonicNanos>(left, 1)));
    } else if (state_ == State::kHasCome) {
      Unset();  // or it would end each wait from now on
    }
  }

  // In a forked child: the timerfd is the parent's.
  void Reopen() {
    ev_timer_stop(loop_, &timer_);
    Close();
    Open();
  }

 private:
  enum class State {
    kIdle,
    kFar,      // libev's timer runs
    kNear,     // that has come; the rest is not set yet
    kSet,      // the timerfd runs
    kHasCome,  // that has, and can be read
  };

  // What comes later than in kSoon is libev's until kEarly before it.
  static constexpr absl::Duration kSoon = absl::Milliseconds(5);
  static constexpr absl::Duration kEarly = absl::Milliseconds(2);
  // As the kernel's own for who sleeps (PR_SET_TIMERSLACK, prctl(2)): of thousands of
  // timers in a millisecond not each is a wakeup.
  static constexpr absl::Duration kSlack = absl::Microseconds(50);

  // Without a descriptor all is rounded.
  void Open() {
    state_ = State::kIdle;
    fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd_ < 0) return;
    const auto has_come = [](struct ev_loop*, ev_io* io, int) {
      static_cast<LoopWakeup*>(io->data)->state_ = State::kHasCome;
    };
    ev_io_init(&io_, has_come, fd_, EV_READ);
    io_.data = this;
    // libev calls idle watchers if nothing of their priority, or above, is pending; this
    // may be for some polls.
    ev_set_priority(&io_, EV_MINPRI);
    ev_io_start(loop_, &io_);
  }
  void Close() {
    if (fd_ < 0) return;
    ev_io_stop(loop_, &io_);
    close(fd_);
  }
  void Set(absl::Duration after) {
    SetTimer(after);
    state_ = State::kSet;
  }
  void Unset() {
    SetTimer(absl::ZeroDuration());
    state_ = State::kIdle;
  }
  void SetTimer(absl::Duration after) {
    ev_clear_pending(loop_, &io_);  // that of before
    const itimerspec spec = {.it_interval = {}, .it_value = absl::ToTimespec(after)};
    GROVE_CHECK(timerfd_settime(fd_, 0, &spec, nullptr) == 0,
                "timerfd_settime: ", strerror(errno));
  }

  struct ev_loop* const loop_;
  ev_timer timer_;
  MonotonicNanos when_ = 0;
  int fd_ = -1;
  ev_io io_;
  State state_ = State::kIdle;
};

// Notes that libev makes its epoll set anew in this poll: in a forked child, or because
// it was told of a descriptor that others hold (epoll(7), "Questions and answers", 6). It
// calls fork watchers just before.
class LoopForkNotice {
 public:
  LoopForkNotice(struct ev_loop* loop, bool* rebuilt) : loop_(loop) {
    ev_fork_init(&fork_, [](struct ev_loop*, ev_fork* w, int) {
      *static_cast<bool*>(w->data) = true;
    });
    fork_.data = rebuilt;
    ev_fork_start(loop_, &fork_);
  }
  ~LoopForkNotice() { ev_fork_stop(loop_, &fork_); }

 private:
  struct ev_loop* const loop_;
  ev_fork fork_;
};

Loop::Loop()
    : epoll_fd_(hub_internal::LowestFreeDescriptor()),
      loop_(NewLoop()),
      wakeup_(std::make_unique<LoopWakeup>(loop_)),
      fork_notice_(std::make_unique<LoopForkNotice>(loop_, &rebuilt_)) {
  // ev_run() does not wait when nothing is active; a hub may have to, for its mailbox.
  ev_ref(loop_);
  ev_set_userdata(loop_, this);
  ev_set_loop_release_cb(loop_, &Loop::GoesToSleep, &Loop::HasSlept);
}

void Loop::GoesToSleep(struct ev_loop* raw) noexcept {
  ++static_cast<Loop*>(ev_userdata(raw))->looks_;
}

void Loop::HasSlept(struct ev_loop* raw) noexcept {
  ++static_cast<Loop*>(ev_userdata(raw))->looks_;
}

Loop::~Loop() {
  while (watchers_) watchers_->Stop();
  GROVE_CHECK(active_ == 0, "a loop ends with ", active_watchers(), " active watchers");
  fork_notice_.reset();
  wakeup_.reset();
  ev_loop_destroy(loop_);
}

void Loop::Poll(bool wait) {
  if (wait) wakeup_->WillWait();
  ev_run(loop_, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
  if (ABSL_PREDICT_FALSE(rebuilt_)) {
    rebuilt_ = false;
    if (told_once_ != nullptr) TellOnce();
  }
}

void Loop::WakeAfter(absl::Duration after) { wakeup_->Arm(after); }

bool Loop::wake_set() const { return wakeup_->armed(); }

bool Loop::TellOfEachEventOnce(const IoWatcher& w) {
  told_once_ = &w;
  Poll(false);  // which tells the kernel of `w`
  return TellOnce();
}

bool Loop::TellOnce() {
  // The set has the number that was the next when it was made, or one nearby, if other
  // threads have opened or closed something at that moment. No set but this loop's has
  // the descriptor, so none is mistaken for it.
  constexpr int kNearby = 256;
  if (ev_backend(loop_) != EVBACKEND_EPOLL) return false;
  const int told = told_once_->fd();
  if (hub_internal::MakeEdgeTriggered(epoll_fd_, told)) return true;
  for (int fd = std::max(epoll_fd_ - kNearby, 0); fd < epoll_fd_ + kNearby; ++fd) {
    if (hub_internal::MakeEdgeTriggered(fd, told)) return true;
  }
  return false;
}

std::string Loop::backend() const {
  switch (ev_backend(loop_)) {
    case EVBACKEND_SELECT:
      return "select";
    case EVBACKEND_POLL:
      return "poll";
    case EVBACKEND_EPOLL:
      return "epoll";
#ifdef EVBACKEND_LINUXAIO
    case EVBACKEND_LINUXAIO:
      return "linuxaio";
#endif
#ifdef EVBACKEND_IOURING
    case EVBACKEND_IOURING:
      return "iouring";
#endif
    default:
      return absl::StrCat("backend ", ev_backend(loop_));
  }
}

void Loop::Reinit() {
  wakeup_->Reopen();
  ev_loop_fork(loop_);
}

// --- IoWatcher ------------------------------------------------------------------

struct IoWatcherCallback {
  static ev_io* Raw(IoWatcher* w) { return reinterpret_cast<ev_io*>(w->ev_); }

  static void Call(struct ev_loop*, ev_io* io, int revents) {
    IoWatcher* w = static_cast<IoWatcher*>(io->data);
    if (revents & EV_ERROR) {
      // The descriptor was closed behind our back; libev has stopped the watcher.
      // Whoever waits will see the error at the next system call.
      revents = kReadable | kWritable;
      w->Stop();
    }
    w->callback_(w->arg_, revents & (kReadable | kWritable));
  }
};

int IoWatcher::fd() const { return reinterpret_cast<const ev_io*>(ev_)->fd; }

void IoWatcher::Set(Loop* loop, int fd, int events, Callback callback, void* arg) {
  static_assert(sizeof(ev_io) <= kStorage && alignof(ev_io) <= 8);
  static_assert(int{kReadable} == int{EV_READ} && int{kWritable} == int{EV_WRITE});
  GROVE_CHECK(!active_, "an IoWatcher is set while active");
  loop_ = loop;
  callback_ = callback;
  arg_ = arg;
  ev_io* io = new (ev_) ev_io;
  ev_io_init(io, &IoWatcherCallback::Call, fd, events);
  io->data = this;
}

bool IoWatcher::Start() {
  if (active_) return true;
  if (fcntl(IoWatcherCallback::Raw(this)->fd, F_GETFD) < 0) return false;
  active_ = true;
  ++loop_->active_;
  ev_io_start(loop_->loop_, IoWatcherCallback::Raw(this));
  return true;
}

void IoWatcher::Stop() {
  if (!active_) return;
  active_ = false;
  --loop_->active_;
  ev_io_stop(loop_->loop_, IoWatcherCallback::Raw(this));
}

// --- the others -----------------------------------------------------------------

Watcher::~Watcher() { GROVE_CHECK(!active_, "a watcher's class did not stop it"); }

void Watcher::Link() {
  active_ = true;
  ++loop_->active_;
  previous_ = nullptr;
  next_ = loop_->watchers_;
  if (next_) next_->previous_ = this;
  loop_->watchers_ = this;
}

void Watcher::Unlink() {
  active_ = false;
  --loop_->active_;
  (previous_ ? previous_->next_ : loop_->watchers_) = next_;
  if (next_) next_->previous_ = previous_;
}

void Watcher::Start(Callback callback) {
  if (active_) return;
  callback_ = std::make_shared<Callback>(std::move(callback));
  Link();
  DoStart();
}

void Watcher::Stop() {
  if (!active_) return;
  Unlink();
  DoStop();
}

struct WatcherCallback {
  template <typename Ev>
  static void Call(struct ev_loop*, Ev* ev, int) {
    Watcher* w = static_cast<Watcher*>(ev->data);
    // One-shot watchers have stopped by themselves; ours say so too.
    if (!ev_is_active(ev) && w->active_) w->Unlink();
    w->Call();
  }
};

#define GROVE_DEFINE_WATCHER(Name, kind)                              \
  struct Name::Impl {                                                 \
    ev_##kind ev;                                                     \
  };                                                                  \
  Name::~Name() { Stop(); }                                           \
  void Name::DoStart() { ev_##kind##_start(raw_loop(), &impl_->ev); } \
  void Name::DoStop() { ev_##kind##_stop(raw_loop(), &impl_->ev); }

GROVE_DEFINE_WATCHER(SignalWatcher, signal)
GROVE_DEFINE_WATCHER(AsyncWatcher, async)
GROVE_DEFINE_WATCHER(IdleWatcher, idle)
GROVE_DEFINE_WATCHER(PrepareWatcher, prepare)
GROVE_DEFINE_WATCHER(CheckWatcher, check)
GROVE_DEFINE_WATCHER(ForkWatcher, fork)

#undef GROVE_DEFINE_WATCHER

struct LoopTimer::Impl {
  ev_timer ev;
  double after;
  double repeat;
};

LoopTimer::~LoopTimer() { Stop(); }

// Counts from now, and not from when the loop last looked at the clock; each time anew.
void LoopTimer::DoStart() {
  ev_now_update(raw_loop());
  ev_timer_set(&impl_->ev, impl_->after, impl_->repeat);
  ev_timer_start(raw_loop(), &impl_->ev);
}

void LoopTimer::DoStop() { ev_timer_stop(raw_loop(), &impl_->ev); }

LoopTimer::LoopTimer(Loop* loop, absl::Duration after, absl::Duration repeat)
    : Watcher(loop), impl_(std::make_unique<Impl>()) {
  GROVE_CHECK(repeat >= absl::ZeroDuration(),
              "a LoopTimer repeats after a negative time");
  impl_->after = absl::ToDoubleSeconds(after);
  impl_->repeat = absl::ToDoubleSeconds(repeat);
  ev_timer_init(&impl_->ev, &WatcherCallback::Call<ev_timer>, impl_->after,
                impl_->repeat);
  impl_->ev.data = this;
}

SignalWatcher::SignalWatcher(Loop* loop, int signum)
    : Watcher(loop), impl_(std::make_unique<Impl>()) {
  GROVE_CHECK(signum > 0 && signum < NSIG, "no such signal: ", signum);
  ev_signal_init(&impl_->ev, &WatcherCallback::Call<ev_signal>, signum);
  impl_->ev.data = this;
}

AsyncWatcher::AsyncWatcher(Loop* loop) : Watcher(loop), impl_(std::make_unique<Impl>()) {
  ev_async_init(&impl_->ev, &WatcherCallback::Call<ev_async>);
  impl_->ev.data = this;
}

void AsyncWatcher::Send() { ev_async_send(raw_loop(), &impl_->ev); }

IdleWatcher::IdleWatcher(Loop* loop) : Watcher(loop), impl_(std::make_unique<Impl>()) {
  ev_idle_init(&impl_->ev, &WatcherCallback::Call<ev_idle>);
  impl_->ev.data = this;
}

PrepareWatcher::PrepareWatcher(Loop* loop)
    : Watcher(loop), impl_(std::make_unique<Impl>()) {
  ev_prepare_init(&impl_->ev, &WatcherCallback::Call<ev_prepare>);
  impl_->ev.data = this;
}

CheckWatcher::CheckWatcher(Loop* loop) : Watcher(loop), impl_(std::make_unique<Impl>()) {
  ev_check_init(&impl_->ev, &WatcherCallback::Call<ev_check>);
  impl_->ev.data = this;
}

ForkWatcher::ForkWatcher(Loop* loop) : Watcher(loop), impl_(std::make_unique<Impl>()) {
  ev_fork_init(&impl_->ev, &WatcherCallback::Call<ev_fork>);
  impl_->ev.data = this;
}

struct StatWatcher::Impl {
  ev_stat ev;
  std::string path;  // libev keeps a pointer to it
};

StatWatcher::StatWatcher(Loop* loop, std::string path, absl::Duration interval)
    : Watcher(loop), impl_(std::make_unique<Impl>()) {
  impl_->path = std::move(path);
  ev_stat_init(&impl_->ev, &WatcherCallback::Call<ev_stat>, impl_->path.c_str(),
               absl::ToDoubleSeconds(interval));
  impl_->ev.data = this;
}

StatWatcher::~StatWatcher() { Stop(); }
void StatWatcher::DoStart() { ev_stat_start(raw_loop(), &impl_->ev); }
void StatWatcher::DoStop() { ev_stat_stop(raw_loop(), &impl_->ev); }
const struct stat& StatWatcher::now() const { return impl_->ev.attr; }
const struct stat& StatWatcher::before() const { return impl_->ev.prev; }

ChildWatcher::ChildWatcher(Loop* loop, pid_t pid)
    // By number: glibc has a wrapper only since 2.36, and no header everywhere.
    : Watcher(loop), pidfd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {
  if (!valid()) return;
  io_.Set(
      loop, pidfd_, kReadable,
      [](void* self, int) {
        ChildWatcher* w = static_cast<ChildWatcher*>(self);
        w->Stop();
        w->Call();
      },
      this);
}

ChildWatcher::~ChildWatcher() {
  Stop();
  if (valid()) close(pidfd_);
}

void ChildWatcher::DoStart() {
  GROVE_CHECK(valid() && io_.Start(),
              "a ChildWatcher is started for a process that is not there");
}

void ChildWatcher::DoStop() { io_.Stop(); }

}  // namespace grove
