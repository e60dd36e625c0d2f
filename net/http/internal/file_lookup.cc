#include "grove/net/http/internal/file_lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20  // Linux 5.12
#endif

namespace grove::http::http_internal {
namespace {

using Mode = FileRoot::Mode;
using Outcome = FileRoot::Outcome;

constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

// Once the kernel has said that it has no RESOLVE_CACHED, or a filter no openat2(2).
std::atomic<bool> never_cached{false};

long Openat2(int root, const std::string& path, uint64_t resolve) {
  open_how how{};
  how.flags = kFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve;
  return syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
}

// Whether there is none, or none that this process may open; or something else is wrong,
// which will pass, and does not make a file disappear.
Outcome OutcomeOf(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case EXDEV:
    case ENAMETOOLONG:
    case EACCES:
    case EPERM:
    case EISDIR:
    case ENXIO:
    case ENODEV:
    case EINVAL:
      return Outcome::kNone;
    default:
      return Outcome::kFailed;
  }
}

// From what the kernel has in memory.
OwnedFd OpenCached(int root, const std::string& path, Outcome* failure) {
  *failure = Outcome::kWouldBlock;
  if (never_cached.load(std::memory_order_relaxed)) return OwnedFd();
  const long fd = Openat2(root, path, RESOLVE_CACHED);
  if (fd >= 0) return OwnedFd(static_cast<int>(fd));
  if (errno == EINVAL || errno == ENOSYS || errno == EPERM) {
    never_cached.store(true, std::memory_order_relaxed);
  } else if (errno != EAGAIN && errno != EINTR) {
    *failure = OutcomeOf(errno);
  }
  return OwnedFd();
}

// Each folder on the way is opened by itself where the kernel has no openat2(2), without
// following links.
OwnedFd OpenBlocking(int root, const std::string& path) {
  for (int tries = 0; tries < 8; ++tries) {
    const long fd = Openat2(root, path, 0);
    if (fd >= 0) return OwnedFd(static_cast<int>(fd));
    // A rename on the way: it has to be looked at anew.
    if (errno == EAGAIN || errno == EINTR) continue;
    if (errno != ENOSYS && errno != EPERM) return OwnedFd();
    break;
  }
  OwnedFd at(openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part == "..") {
      errno = ENOENT;
      return OwnedFd();
    }
    const bool last = part.data() + part.size() == path.data() + path.size();
    const int fd =
        openat(at.get(), std::string(part).c_str(),
               O_NOFOLLOW | (last ? kFlags : O_PATH | O_DIRECTORY | O_CLOEXEC));
    const int error = errno;
    at = OwnedFd(fd);
    errno = error;  // of what is no more needed nothing is asked
    if (fd < 0) break;
  }
  return at;
}

// A file or folder below `root`; not open, and why, if there is none.
OwnedFd OpenBelow(int root, const std::string& path, Mode mode, Outcome* failure) {
  if (mode == Mode::kCached) return OpenCached(root, path, failure);
  OwnedFd fd = OpenBlocking(root, path);
  *failure = fd.get() < 0 ? OutcomeOf(errno) : Outcome::kNone;
  return fd;
}

bool IsSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool IsOlder(const struct timespec& a, const struct timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

}  // namespace

absl::string_view SuffixOfCoding(absl::string_view coding) {
  if (coding == "br") return ".br";
  if (coding == "gzip") return ".gz";
  return {};
}

std::shared_ptr<const FileRoot::Opened> FileRoot::Open(Mode mode,
                                                       Outcome* failure) const {
  std::shared_ptr<const Opened> opened;
  {
    const std::lock_guard lock(mutex_);
    opened = opened_;
  }
  *failure = mode == Mode::kCached ? Outcome::kWouldBlock : Outcome::kNone;
  if (mode == Mode::kCached && !opened) return nullptr;
  // What is open keeps the names on its path in the kernel's memory: this does not wait.
  struct stat now;
  if (stat(path_.c_str(), &now) != 0) {
    *failure = OutcomeOf(errno);
    return nullptr;
  }
  if (opened && IsSame(now, opened->info)) return opened;
  if (mode == Mode::kCached) return nullptr;
  OwnedFd fd(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fstat(fd.get(), &now) != 0) {
    *failure = OutcomeOf(errno);
    return nullptr;
  }
  opened = std::make_shared<const Opened>(Opened{std::move(fd), now});
  const std::lock_guard lock(mutex_);
  opened_ = opened;
  return opened;
}

FileRoot::Found FileRoot::LookUp(const Wanted& wanted, Mode mode) const {
  Found found;
  const std::shared_ptr<const Opened> root = Open(mode, &found.outcome);
  if (!root) return found;
  const bool as_folder = wanted.path.empty() || wanted.path.back() == '/';
  found.name = wanted.path;
  if (as_folder && !wanted.index.empty()) absl::StrAppend(&found.name, wanted.index);
  if (as_folder && wanted.index.empty() && !wanted.folders) {
    found.outcome = Outcome::kNone;
    return found;
  }
  if (found.name.empty()) found.name.push_back('.');
  found.fd = OpenBelow(root->fd.get(), found.name, mode, &found.outcome);
  if (found.fd.get() < 0 && found.outcome == Outcome::kNone && as_folder &&
      wanted.folders && found.name != ".") {
    // No index: the folder itself.
    found.name = wanted.path;
    if (found.name.empty()) found.name.push_back('.');
    found.fd = OpenBelow(root->fd.get(), found.name, mode, &found.outcome);
  }
  if (found.fd.get() < 0) return found;
  found.outcome = Outcome::kNone;
  if (fstat(found.fd.get(), &found.info) != 0) return found;
  if (S_ISDIR(found.info.st_mode)) {
    if (as_folder) {
      if (wanted.folders) found.outcome = Outcome::kFolder;
    } else if (!wanted.index.empty() || wanted.folders) {
      found.outcome = Outcome::kRedirect;
    }
    return found;
  }
  if (!S_ISREG(found.info.st_mode)) return found;
  found.outcome = Outcome::kFile;
  for (absl::string_view coding : wanted.codings) {
    Outcome failure;
    OwnedFd sibling = OpenBelow(
        root->fd.get(), absl::StrCat(found.name, SuffixOfCoding(coding)), mode, &failure);
    if (sibling.get() < 0) {
      if (failure != Outcome::kWouldBlock) continue;  // the file itself is there
      found.outcome = failure;
      return found;
    }
    struct stat info;
    // One that is older was made of something else.
    if (fstat(sibling.get(), &info) != 0 || !S_ISREG(info.st_mode) ||
        IsOlder(info.st_mtim, found.info.st_mtim)) {
      continue;
    }
    found.fd = std::move(sibling);
    found.info = info;
    found.coding = coding;
    break;
  }
  return found;
}

}  // namespace grove::http::http_internal
