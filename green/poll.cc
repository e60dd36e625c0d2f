#include "grove/green/poll.h"

#include <errno.h>

#include <cstddef>
#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "grove/green/internal/poll_set.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/status.h"

namespace grove {
namespace {

using green_internal::PollEntry;
using green_internal::PollSet;
using green_internal::PollWait;
using green_internal::Registration;
using green_internal::Scheduler;

absl::StatusOr<int> PollNow(absl::Span<pollfd> fds) {
  for (;;) {
    const int n = poll(fds.data(), fds.size(), 0);
    if (n >= 0) return n;
    if (errno != EINTR) {
      return ErrnoStatus(errno, absl::StrCat("poll ", fds.size(), " descriptors"));
    }
  }
}

// The entries of those that are not passed over, and which one of `fds` each belongs to.
struct Polled {
  explicit Polled(absl::Span<const pollfd> fds) {
    for (size_t i = 0; i < fds.size(); ++i) {
      if (fds[i].fd < 0) continue;
      entries.push_back(
          {.fd = fds[i].fd, .events = static_cast<uint16_t>(fds[i].events)});
      places.push_back(i);
    }
  }

  absl::InlinedVector<PollEntry, 8> entries;
  absl::InlinedVector<size_t, 8> places;
};

// As PollNow(); those that were closed meanwhile are not open, whoever has their numbers
// by now.
absl::StatusOr<int> PollAgain(absl::Span<pollfd> fds, const Polled& polled) {
  int closed = 0;
  const auto for_each_closed = [&](auto fn) {
    for (size_t i = 0; i < polled.entries.size(); ++i) {
      if (polled.entries[i].closed) fn(fds[polled.places[i]], polled.entries[i].fd);
    }
  };
  for_each_closed([](pollfd& p, int) { p.fd = -1; });
  absl::StatusOr<int> n = PollNow(fds);
  for_each_closed([&](pollfd& p, int fd) {
    p.fd = fd;
    p.revents = POLLNVAL;
    ++closed;
  });
  if (n.ok()) *n += closed;
  return n;
}

[[gnu::noinline]] absl::StatusOr<int> PollWaiting(Scheduler& s, absl::Span<pollfd> fds,
                                                  Deadline deadline) {
  Polled polled(fds);
  PollSet* const set = polled.entries.empty() ? nullptr : PollSet::Get(s);
  if (set == nullptr && !polled.entries.empty()) {
    return ErrnoStatus(errno, "poll: no epoll set");
  }
  PollWait wait(set, polled.entries.data(), polled.entries.size(), "poll");
  for (;;) {
    int failed;
    const int error = wait.Arm(Registration::kForOneWait, failed);
    // Closed by another thread since poll(2) looked: it will say so.
    if (error != 0 && error != EBADF) {
      return ErrnoStatus(error, absl::StrCat("poll fd ", failed));
    }
    const bool in_time = error != 0 || s.ParkUntil(&wait, deadline);
    absl::StatusOr<int> n = PollAgain(fds, polled);
    if (!n.ok() || *n > 0 || !in_time) return n;
  }
}

}  // namespace

absl::StatusOr<int> Poll(absl::Span<pollfd> fds, Deadline deadline) {
  Scheduler& s = Scheduler::Get();
  s.CountOperation();
  absl::StatusOr<int> n = PollNow(fds);
  if (!n.ok() || *n > 0 || deadline == Deadline::Passed()) return n;
  return PollWaiting(s, fds, deadline);
}

absl::StatusOr<SelectedDescriptors> SelectDescriptors(absl::Span<const int> read,
                                                      absl::Span<const int> write,
                                                      absl::Span<const int> except,
                                                      Deadline deadline) {
  SelectedDescriptors selected;
  // What the kernel's select(2) asks for, and takes for an answer.
  const struct {
    absl::Span<const int> fds;
    short asked;
    short answer;
    std::vector<int>* out;
  } sets[] = {
      {read, POLLIN | POLLRDNORM | POLLRDBAND,
       POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR, &selected.readable},
      {write, POLLOUT | POLLWRNORM | POLLWRBAND,
       POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR, &selected.writable},
      {except, POLLPRI, POLLPRI, &selected.exceptional},
  };
  std::vector<pollfd> fds;
  fds.reserve(read.size() + write.size() + except.size());
  for (const auto& set : sets) {
    for (int fd : set.fds) {
      if (fd < 0) return ErrnoStatus(EBADF, absl::StrCat("select: fd ", fd));
      fds.push_back({.fd = fd, .events = set.asked, .revents = 0});
    }
  }
  for (;;) {
    const absl::StatusOr<int> n = Poll(absl::MakeSpan(fds), deadline);
    if (!n.ok()) return n.status();
    size_t i = 0;
    for (const auto& set : sets) {
      for (int fd : set.fds) {
        pollfd& p = fds[i++];
        if (p.revents & POLLNVAL) {
          return ErrnoStatus(EBADF, absl::StrCat("select: fd ", fd));
        }
        if (p.revents & set.answer) {
          set.out->push_back(fd);
        } else if (p.revents != 0) {
          // Hung up or failed, which is no answer to what was asked, and which poll(2)
          // would tell again and again: nothing else comes of it any more.
          p.fd = -1;
        }
      }
    }
    if (*n == 0 || !selected.empty()) return selected;
  }
}

}  // namespace grove
