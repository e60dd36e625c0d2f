#include "grove/green/internal/poll_set.h"

#include <errno.h>
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

}  // namespace

PollSet* PollSet::Get(Scheduler& s) {
  if (poll_set && poll_set->scheduler_ == &s) return poll_set;
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return nullptr;
  poll_set = new PollSet(&s, fd);
  s.AtEnd([] { delete std::exchange(poll_set.get(), nullptr); });
  return poll_set;
}

PollSet::PollSet(Scheduler* s, int epoll_fd) : scheduler_(s), epoll_fd_(epoll_fd) {
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

int PollSet::active_watchers() { return poll_set ? poll_set->watcher_.active() : 0; }

PollEntry*& PollSet::First(int fd) {
  if (static_cast<size_t>(fd) >= first_.size()) first_.resize(fd + 1);
  return first_[fd];
}

int PollSet::Control(int fd, uint32_t events, bool known) {
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.fd = fd;
  const int first = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_fd_, first, fd, &event) == 0) return 0;
  // A stranger has closed the descriptor, and its number is another's by now; or it was
  // closed and lives on as a duplicate.
  if (errno != ENOENT && errno != EEXIST) return errno;
  const int second = errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  return epoll_ctl(epoll_fd_, second, fd, &event) == 0 ? 0 : errno;
}

int PollSet::Arm(PollEntry* entry) {
  PollEntry*& first = First(entry->fd);
  const bool known = first != nullptr;
  if (!entry->linked) {
    entry->next = first;
    first = entry;
    entry->linked = true;
  }
  uint32_t events = 0;
  for (const PollEntry* e = first; e; e = e->next) events |= e->events;
  return Control(entry->fd, events, known);
}

void PollSet::Remove(PollEntry* entry) {
  if (!std::exchange(entry->linked, false)) return;
  PollEntry** link = &first_[entry->fd];
  while (*link != entry) link = &(*link)->next;
  *link = entry->next;
  // If it was closed it is out already, and this fails.
  if (first_[entry->fd] == nullptr) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, entry->fd, nullptr);
  }
}

void PollSet::Closing(int fd) {
  if (poll_set == nullptr || static_cast<size_t>(fd) >= poll_set->first_.size()) return;
  PollEntry* e = std::exchange(poll_set->first_[fd], nullptr);
  if (e == nullptr) return;
  epoll_ctl(poll_set->epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  for (; e; e = e->next) {
    e->linked = false;
    e->closed = true;
    e->wait->Wake();
  }
}

void PollSet::OnEvents() {
  // What does not fit in here is told at the next turn.
  epoll_event events[64];
  const int n = epoll_wait(epoll_fd_, events, std::size(events), 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    const uint32_t seen = events[i].events;
    uint32_t others = 0;
    bool any_others = false;
    for (PollEntry* e = First(fd); e; e = e->next) {
      if (seen & (e->events | EPOLLERR | EPOLLHUP)) {
        e->wait->Wake();
      } else {
        others |= e->events;
        any_others = true;
      }
    }
    if (any_others) Control(fd, others, /*known=*/true);
  }
}

// --- PollWait -------------------------------------------------------------------------

PollWait::PollWait(PollSet* set, PollEntry* entries, size_t size)
    : set_(set), entries_(entries), size_(size), core_(Scheduler::Get().current()) {
  for (size_t i = 0; i < size; ++i) entries[i].wait = this;
  // Without a descriptor nothing but time can end it.
  if (size_ > 0) core_->scheduler->hub().AddWaker();
}

PollWait::~PollWait() {
  for (size_t i = 0; i < size_; ++i) set_->Remove(&entries_[i]);
  if (size_ > 0) core_->scheduler->hub().RemoveWaker();
}

int PollWait::Arm(int& failed) {
  for (size_t i = 0; i < size_; ++i) {
    if (entries_[i].closed) continue;
    const int error = set_->Arm(&entries_[i]);
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
  std::string text = "poll of";
  for (size_t i = 0; i < std::min(size_, kShown); ++i) {
    absl::StrAppend(&text, i == 0 ? " fd " : ", ", entries_[i].fd);
  }
  if (size_ == 0) return "poll of no descriptor";
  if (size_ > kShown) absl::StrAppend(&text, " and ", size_ - kShown, " more");
  return text;
}

}  // namespace grove::green_internal
