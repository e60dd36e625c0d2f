#include "grove/green/internal/poll_set.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"

namespace grove::green_internal {
namespace {

// Of this thread's hub; see descriptor.cc.
constinit thread_local hub_internal::PerThread<PollSet*> poll_set;

// Two of these make a wait old.
constexpr absl::Duration kHalfAge = absl::Milliseconds(50);

}  // namespace

PollSet* PollSet::Get(Scheduler& s) {
  if (poll_set && poll_set->scheduler_ == &s) return poll_set;
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return nullptr;
  poll_set = new PollSet(&s, fd);
  s.AtEnd([] { delete std::exchange(poll_set.get(), nullptr); });
  return poll_set;
}

PollSet::PollSet(Scheduler* s, int epoll_fd)
    : scheduler_(s), epoll_fd_(epoll_fd), renewal_(&s->hub().loop(), kHalfAge, kHalfAge) {
  watcher_.Set(
      &s->hub().loop(), epoll_fd, kReadable,
      [](void* self, int) { static_cast<PollSet*>(self)->OnEvents(); }, this);
  GROVE_CHECK(watcher_.Start(), "the epoll set of Poll() is not open");
}

PollSet::~PollSet() {
  watcher_.Stop();
  close(epoll_fd_);
}

// Its set is the parent's too, and must not be changed. A new one is made when it is
// needed.
void PollSet::ForgetInChild() {
  if (poll_set == nullptr) return;
  // What AtEnd() was given then finds the new one, or none.
  delete std::exchange(poll_set.get(), nullptr);
}

int PollSet::active_watchers() {
  return poll_set ? poll_set->watcher_.active() + poll_set->renewal_.active() : 0;
}

PollSet::Polled& PollSet::At(int fd) {
  const auto at = static_cast<size_t>(fd);
  if (at >= polled_.size()) polled_.resize(at + 1);
  return polled_[at];
}

int PollSet::Register(int fd, uint32_t events) {
  Polled& p = polled_[static_cast<size_t>(fd)];
  p.relying = Polled::Age::kNone;
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const int first = p.events != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  bool done = epoll_ctl(epoll_fd_, first, fd, &event) == 0;
  // A stranger has closed the descriptor, and its number is another's by now; or it was
  // closed and lives on as a duplicate.
  if (!done && (errno == ENOENT || errno == EEXIST)) {
    const int second = errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    done = epoll_ctl(epoll_fd_, second, fd, &event) == 0;
  }
  const int error = done ? 0 : errno;
  GROVE_CHECK(error != EBADF || fcntl(epoll_fd_, F_GETFD) >= 0, "fd ", epoll_fd_,
              ", by which hub '", scheduler_->hub_name(),
              "' waits for others, was closed by the program");
  p.events = done ? events : 0;
  return error;
}

void PollSet::Unregister(int fd) {
  // If it was closed it is out already, and this fails.
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  Polled& p = polled_[static_cast<size_t>(fd)];
  p.events = 0;
  p.kept = false;
}

int PollSet::Arm(PollEntry* entry, Registration registration) {
  Polled& p = At(entry->fd);
  if (!entry->linked) {
    entry->next = p.first;
    p.first = entry;
    entry->linked = true;
  }
  p.unheard = false;
  const uint32_t events = p.events | entry->events | EPOLLET;
  if (registration == Registration::kForOneWait || events != p.events) {
    p.kept |= registration == Registration::kKept;
    return Register(entry->fd, events);
  }
  if (p.relying == Polled::Age::kNone) p.relying = Polled::Age::kNew;
  if (!renewal_.active()) renewal_.Start([this] { RenewOld(); });
  return 0;
}

void PollSet::Remove(PollEntry* entry) {
  if (!std::exchange(entry->linked, false)) return;
  Polled& p = polled_[static_cast<size_t>(entry->fd)];
  PollEntry** link = &p.first;
  while (*link != entry) link = &(*link)->next;
  *link = entry->next;
  if (p.first == nullptr && !p.kept) Unregister(entry->fd);
}

void PollSet::Closing(int fd) {
  if (poll_set == nullptr || static_cast<size_t>(fd) >= poll_set->polled_.size()) return;
  Polled& p = poll_set->polled_[static_cast<size_t>(fd)];
  if (p.events == 0 && p.first == nullptr) return;
  // A child that shares this memory until it is another program (vfork(2)) closes its
  // own.
  if (getpid() != poll_set->process_) return;
  PollEntry* e = std::exchange(p.first, nullptr);
  poll_set->Unregister(fd);
  for (; e; e = e->next) {
    e->linked = false;
    e->closed = true;
    e->wait->Wake();
  }
}

void PollSet::ClosingRange(unsigned first, unsigned last) {
  for (size_t fd = first; poll_set && fd <= last && fd < poll_set->polled_.size(); ++fd) {
    Closing(static_cast<int>(fd));
  }
}

void PollSet::OnEvents() {
  // What does not fit in here is told at the next turn.
  epoll_event events[64];
  const int n = epoll_wait(epoll_fd_, events, std::size(events), 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    Polled& p = polled_[static_cast<size_t>(fd)];
    p.relying = Polled::Age::kNone;
    if (p.first != nullptr) {
      for (PollEntry* e = p.first; e; e = e->next) {
        if (events[i].events & (e->events | EPOLLERR | EPOLLHUP)) e->wait->Wake();
      }
    } else if (std::exchange(p.unheard, true)) {
      // It is used without waiting.
      Unregister(fd);
    }
  }
}

void PollSet::RenewOld() {
  bool any = false;
  for (size_t fd = 0; fd < polled_.size(); ++fd) {
    Polled& p = polled_[fd];
    if (p.first == nullptr) p.relying = Polled::Age::kNone;
    if (p.relying == Polled::Age::kOld) {
      if (Register(static_cast<int>(fd), p.events) == 0) continue;
      // Closed, or it is something else by now: the call itself will say so.
      for (PollEntry* e = p.first; e; e = e->next) e->wait->Wake();
    } else if (p.relying == Polled::Age::kNew) {
      p.relying = Polled::Age::kOld;
      any = true;
    }
  }
  if (!any) renewal_.Stop();
}

// --- PollWait -------------------------------------------------------------------------

PollWait::PollWait(PollSet* set, PollEntry* entries, size_t size, const char* call)
    : set_(set),
      entries_(entries),
      size_(size),
      core_(Scheduler::Get().current()),
      call_(call) {
  for (size_t i = 0; i < size; ++i) entries[i].wait = this;
  // Without a descriptor nothing but time can end it.
  if (size_ > 0) core_->scheduler->hub().AddWaker();
}

PollWait::~PollWait() {
  for (size_t i = 0; i < size_; ++i) set_->Remove(&entries_[i]);
  if (size_ > 0) core_->scheduler->hub().RemoveWaker();
}

int PollWait::Arm(Registration registration, int& failed) {
  woken_ = false;
  for (size_t i = 0; i < size_; ++i) {
    if (entries_[i].closed) continue;
    const int error = set_->Arm(&entries_[i], registration);
    // Files on disks and the like are ready for reading and writing at any time, as
    // poll(2) has said, and for nothing else ever.
    if (error == 0 || error == EPERM) continue;
    failed = entries_[i].fd;
    return error;
  }
  return 0;
}

std::string PollWait::Describe() const {
  constexpr size_t kShown = 4;
  std::string text = absl::StrCat(call_, " of");
  for (size_t i = 0; i < std::min(size_, kShown); ++i) {
    absl::StrAppend(&text, i == 0 ? " fd " : ", ", entries_[i].fd);
  }
  if (size_ == 0) absl::StrAppend(&text, " no descriptor");
  if (size_ > kShown) absl::StrAppend(&text, " and ", size_ - kShown, " more");
  return text;
}

}  // namespace grove::green_internal
