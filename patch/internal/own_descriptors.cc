#include "grove/patch/internal/own_descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grove::patch::patch_internal {
namespace {

// The loop's set and its timer, the mailbox, the set of Poll(), and where the report
// goes. Looked at by every close(). Those not in use are -1.
constinit std::atomic<int> owned[kMostOwned] = {-1, -1, -1, -1, -1, -1, -1, -1};

void Own(absl::Span<const int> fds) {
  for (size_t i = 0; i < kMostOwned; ++i) {
    owned[i].store(i < fds.size() ? fds[i] : -1, std::memory_order_relaxed);
  }
}

std::vector<int> NotIn(const std::vector<int>& before, const std::vector<int>& after) {
  std::vector<int> opened;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(opened));
  return opened;
}

// A hub's are of these kinds. Other threads of the parent may have opened something too,
// while it forked.
bool IsLikeAHubs(int fd) {
  char target[64];
  const ssize_t n =
      readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), target, sizeof target);
  const absl::string_view link(target, n > 0 ? static_cast<size_t>(n) : 0);
  return link == "anon_inode:[eventpoll]" || link == "anon_inode:[eventfd]" ||
         link == "anon_inode:[timerfd]";
}

}  // namespace

OutOfTheWay::OutOfTheWay() {
  // Above those that scripts name, and low, since a forked child cannot have anew what
  // lies above a limit that its parent has lowered (dup(2)).
  constexpr rlim_t kFirst = 32;
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const auto first = static_cast<int>(std::min(kFirst, limit.rlim_cur / 2));
  const auto one = static_cast<int>(syscall(SYS_eventfd2, 0, EFD_CLOEXEC));
  for (int fd = one; fd >= 0; fd = fcntl(one, F_DUPFD_CLOEXEC, 0)) {
    in_the_way_.push_back(fd);
    if (fd >= first) break;
  }
}

OutOfTheWay::~OutOfTheWay() {
  for (const int fd : in_the_way_) syscall(SYS_close, fd);
}

std::vector<int> OpenDescriptors() {
  std::vector<int> fds;
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return fds;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    const int fd = atoi(entry->d_name);
    if (fd != dirfd(folder)) fds.push_back(fd);
  }
  closedir(folder);
  std::sort(fds.begin(), fds.end());
  return fds;
}

void OwnWhatIsOpened(absl::FunctionRef<void()> make) {
  const std::vector<int> before = OpenDescriptors();
  {
    const OutOfTheWay high;
    make();
  }
  Own(NotIn(before, OpenDescriptors()));
}

void OwnAgainInChild(const std::vector<int>& before) {
  const std::vector<int> after = OpenDescriptors();
  std::vector<int> mine;
  for (const int fd : Owned()) {
    if (fcntl(fd, F_GETFD) >= 0) mine.push_back(fd);
  }
  // Without /proc, as after chroot(2): those that have kept their numbers.
  if (before.empty() || after.empty()) return Own(mine);
  for (const int fd : NotIn(before, after)) {
    if (IsLikeAHubs(fd)) mine.push_back(fd);
  }
  Own(mine);
}

absl::InlinedVector<int, kMostOwned> Owned() {
  absl::InlinedVector<int, kMostOwned> fds;
  for (const auto& fd : owned) {
    if (fd >= 0) fds.push_back(fd);
  }
  std::sort(fds.begin(), fds.end());
  return fds;
}

bool IsOwned(int fd) {
  for (const auto& own : owned) {
    const int mine = own.load(std::memory_order_relaxed);
    if (mine < 0) return false;
    if (mine == fd) return true;
  }
  return false;
}

}  // namespace grove::patch::patch_internal
