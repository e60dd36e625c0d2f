#include "grove/hub/internal/edge_trigger.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace grove::hub_internal {
namespace {

// Empty if it cannot be read. By number: for a program that is patched, open() and read()
// may be another copy's of this library, which would make greenlets wait in them.
std::string ReadWhole(const std::string& path) {
  const long fd = syscall(SYS_openat, AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string text;
  char piece[1024];
  for (long n; (n = syscall(SYS_read, fd, piece, sizeof piece)) > 0;) {
    text.append(piece, static_cast<size_t>(n));
  }
  syscall(SYS_close, fd);
  return text;
}

// What the set has for `fd`. It says "tfd: 5 events: 19 data: 100000005 pos:0 ..." in a
// line for each.
std::optional<epoll_event> Registered(int epoll_fd, int fd) {
  const std::string info = ReadWhole(absl::StrCat("/proc/thread-self/fdinfo/", epoll_fd));
  constexpr char kLine[] = "tfd:";
  for (const char* at = info.c_str(); (at = strstr(at, kLine)); at += strlen(kLine)) {
    int target;
    uint32_t events;
    uint64_t data;
    if (sscanf(at, "tfd: %d events: %" SCNx32 " data: %" SCNx64, &target, &events,
               &data) == 3 &&
        target == fd) {
      epoll_event e = {};
      e.events = events;
      e.data.u64 = data;
      return e;
    }
  }
  return std::nullopt;
}

}  // namespace

bool MakeEdgeTriggered(int epoll_fd, int fd) {
  std::optional<epoll_event> e = Registered(epoll_fd, fd);
  if (!e) return false;
  e->events |= EPOLLET;
  return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &*e) == 0;
}

int LowestFreeDescriptor() {
  const long fd = syscall(SYS_eventfd2, 0, EFD_CLOEXEC);
  if (fd >= 0) syscall(SYS_close, fd);
  return static_cast<int>(fd);
}

}  // namespace grove::hub_internal
