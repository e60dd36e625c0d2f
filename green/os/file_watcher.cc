#include "grove/green/os/file_watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/descriptor.h"
#include "grove/green/os/internal/file_snapshot.h"
#include "grove/green/os/internal/files_pool.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove {

using green_internal::Compare;
using green_internal::FileSnapshot;
using green_internal::OnFilesPool;
using green_internal::TakeSnapshot;

namespace {

constexpr uint32_t kEvents = IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM |
                             IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF |
                             IN_ONLYDIR;

// File systems that others change too, of which the kernel here hears nothing
// (statfs(2)).
bool IsRemote(long type) {
  switch (static_cast<uint32_t>(type)) {
    case 0x00006969:  // NFS
    case 0x0000517B:  // SMB
    case 0xFF534D42:  // CIFS
    case 0xFE534D42:  // SMB2
    case 0x65735546:  // FUSE: sshfs and the like
    case 0x01021997:  // 9P: a virtual machine's host
    case 0x00C36400:  // Ceph
    case 0x5346414F:  // AFS
    case 0x73757245:  // Coda
    case 0x0BD00BD0:  // Lustre
      return true;
    default:
      return false;
  }
}

// Without slashes at the end.
std::string Trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// Where `path` is, and as what.
struct Place {
  std::string folder;
  std::string name;
};

Place PlaceOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// What a thread finds out about a path that is to be watched.
struct Looked {
  int error = 0;
  bool folder = false;
  bool remote = false;
};

Looked LookAt(const std::string& path) {
  Looked looked;
  struct stat st;
  looked.folder = stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  const std::string folder = looked.folder ? path : PlaceOf(path).folder;
  struct statfs fs;
  if (statfs(folder.c_str(), &fs) < 0) {
    looked.error = errno;
  } else {
    looked.remote = IsRemote(fs.f_type);
  }
  return looked;
}

// What an event of inotify's means for a name in a folder.
FileChange ChangeOf(uint32_t mask) {
  if (mask & IN_CREATE) return FileChange::kCreated;
  if (mask & IN_MOVED_TO) return FileChange::kMovedHere;
  if (mask & IN_MOVED_FROM) return FileChange::kMovedAway;
  if (mask & IN_DELETE) return FileChange::kRemoved;
  if (mask & IN_ATTRIB) return FileChange::kAttributes;
  return FileChange::kModified;
}

}  // namespace

// Shared with who waits: the FileWatcher may be destroyed meanwhile.
class FileWatcher::State {
 public:
  explicit State(const FileWatcherOptions& options) : options_(options) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  absl::Status Watch(const std::string& path);
  void Unwatch(const std::string& path);
  absl::StatusOr<FileEvent> Next(Deadline deadline);
  void Close();

 private:
  // A folder that the kernel watches, for all that is in it or for some names.
  // What is watched there goes by the paths that were given, of which one thing may have
  // several.
  struct Folder {
    std::set<std::string> whole;  // if for all
    std::map<std::string, std::set<std::string>> names;
  };
  // A path that is looked at.
  struct Polled {
    bool folder;
    FileSnapshot before;
  };

  absl::Status Open();
  absl::Status Poll(const std::string& path, bool folder);
  void ReadEvents();
  void OnEvent(const inotify_event& event);
  void OnFolderGone(std::map<int, Folder>::iterator it);
  void LookAgain();
  void Tell(const std::string& path, FileChange change) {
    FileEvent event{path, change};
    if (events_.empty() || events_.back() != event) events_.push_back(std::move(event));
  }

  const FileWatcherOptions options_;
  // inotify's, or of an eventfd that stays silent, where inotify is not to be had.
  Descriptor descriptor_;
  bool inotify_ = false;
  bool closed_ = false;
  std::map<int, Folder> folders_;  // by inotify's number
  std::map<std::string, Polled> polled_;
  Deadline next_look_;
  std::deque<FileEvent> events_;
};

// --- watching ------------------------------------------------------------------------

absl::Status FileWatcher::State::Open() {
  if (descriptor_.valid()) return absl::OkStatus();
  int fd = options_.always_poll ? -1 : inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  inotify_ = fd >= 0;
  if (fd < 0) fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "watch files");
  descriptor_ = Descriptor(fd);
  return absl::OkStatus();
}

absl::Status FileWatcher::State::Watch(const std::string& path) {
  // The look-ups happen on a thread; here the kernel has the folder in its cache.
  absl::StatusOr<Looked> looked = OnFilesPool([&] { return LookAt(path); });
  if (!looked.ok()) return std::move(looked).status();
  const std::string operation = absl::StrCat("watch '", path, "'");
  if (looked->error != 0) return ErrnoStatus(looked->error, operation);
  if (closed_) return absl::CancelledError(absl::StrCat(operation, ": closed"));
  if (absl::Status s = Open(); !s.ok()) return s;
  if (!inotify_ || looked->remote) return Poll(path, looked->folder);
  const Place place = PlaceOf(path);
  const std::string& folder = looked->folder ? path : place.folder;
  const int number = inotify_add_watch(descriptor_.fd(), folder.c_str(), kEvents);
  if (number < 0) {
    const int error = errno;
    // The user's limit of watches is reached, or the kernel has no memory for one more.
    if (error == ENOSPC || error == ENOMEM) return Poll(path, looked->folder);
    return ErrnoStatus(error, operation);
  }
  Folder& watched = folders_[number];
  (looked->folder ? watched.whole : watched.names[place.name]).insert(path);
  return absl::OkStatus();
}

absl::Status FileWatcher::State::Poll(const std::string& path, bool folder) {
  if (polled_.count(path) > 0) return absl::OkStatus();
  absl::StatusOr<std::variant<FileSnapshot, int>> now =
      OnFilesPool([&] { return TakeSnapshot(path, folder); });
  if (!now.ok()) return std::move(now).status();
  if (const int* error = std::get_if<int>(&*now)) {
    return ErrnoStatus(*error, absl::StrCat("watch '", path, "'"));
  }
  if (closed_) return absl::CancelledError(absl::StrCat("watch '", path, "': closed"));
  if (polled_.empty()) {
    next_look_ = options_.poll_interval;
    // Who waits already does so without a look in between.
    descriptor_ = Descriptor(descriptor_.Release());
  }
  polled_.try_emplace(path, Polled{folder, std::get<FileSnapshot>(*std::move(now))});
  return absl::OkStatus();
}

void FileWatcher::State::Unwatch(const std::string& path) {
  polled_.erase(path);
  const Place place = PlaceOf(path);
  for (auto it = folders_.begin(); it != folders_.end();) {
    Folder& folder = it->second;
    folder.whole.erase(path);
    if (const auto name = folder.names.find(place.name); name != folder.names.end()) {
      name->second.erase(path);
      if (name->second.empty()) folder.names.erase(name);
    }
    if (folder.whole.empty() && folder.names.empty()) {
      inotify_rm_watch(descriptor_.fd(), it->first);
      it = folders_.erase(it);
    } else {
      ++it;
    }
  }
}

// --- telling -------------------------------------------------------------------------

absl::StatusOr<FileEvent> FileWatcher::State::Next(Deadline deadline) {
  if (!descriptor_.valid() && !closed_) {
    return absl::FailedPreconditionError("wait for a change of files: none is watched");
  }
  for (;;) {
    // Also where there is always something to tell of other places.
    if (!polled_.empty() && next_look_.HasPassed()) LookAgain();
    if (closed_) return absl::CancelledError("wait for a change of files: closed");
    if (events_.empty()) ReadEvents();
    if (!events_.empty()) {
      if (!descriptor_.CountOperation()) continue;
      FileEvent event = std::move(events_.front());
      events_.pop_front();
      return event;
    }
    const Deadline until = polled_.empty() ? deadline : std::min(deadline, next_look_);
    switch (descriptor_.WaitReadable(until)) {
      case WaitResult::kReady:
        break;
      case WaitResult::kClosed:
        if (!closed_) break;  // something else is to be waited for from now on
        return absl::CancelledError(
            absl::StrCat("wait for a change of files: ", WhoClosed()));
      case WaitResult::kDeadline:
        if (!polled_.empty() && next_look_.HasPassed()) {
          LookAgain();
        }
        if (events_.empty() && deadline.HasPassed()) {
          return absl::DeadlineExceededError(
              "wait for a change of files: the deadline passed");
        }
    }
  }
}

void FileWatcher::State::ReadEvents() {
  if (!inotify_) return;
  alignas(inotify_event) char buffer[4096];
  ssize_t n;
  do {
    n = read(descriptor_.fd(), buffer, sizeof buffer);
  } while (n < 0 && errno == EINTR);
  for (ssize_t at = 0; at < n;) {
    const auto& event = *reinterpret_cast<const inotify_event*>(buffer + at);
    OnEvent(event);
    at += static_cast<ssize_t>(sizeof event + event.len);
  }
}

void FileWatcher::State::OnEvent(const inotify_event& event) {
  if (event.mask & IN_Q_OVERFLOW) {
    Tell("", FileChange::kRescan);
    return;
  }
  const auto it = folders_.find(event.wd);
  if (it == folders_.end()) return;  // of one that is not watched any more
  if (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) {
    OnFolderGone(it);
    return;
  }
  if (event.len == 0) return;  // of the folder itself
  const std::string name = event.name;
  const FileChange change = ChangeOf(event.mask);
  if (const auto given = it->second.names.find(name); given != it->second.names.end()) {
    for (const std::string& path : given->second) Tell(path, change);
  }
  for (const std::string& whole : it->second.whole) {
    Tell(absl::StrCat(whole == "/" ? "" : whole, "/", name), change);
  }
}

void FileWatcher::State::OnFolderGone(std::map<int, Folder>::iterator it) {
  const Folder folder = std::move(it->second);
  // One that was renamed would go on telling, under names that are not true any more.
  inotify_rm_watch(descriptor_.fd(), it->first);
  folders_.erase(it);
  for (const auto& [name, paths] : folder.names) {
    for (const std::string& path : paths) Tell(path, FileChange::kUnwatched);
  }
  for (const std::string& whole : folder.whole) Tell(whole, FileChange::kUnwatched);
}

void FileWatcher::State::Close() {
  if (std::exchange(closed_, true) || !descriptor_.valid()) return;
  // Who lets go of watches last waits until all of the kernel's cores have been through a
  // quiet moment, which takes milliseconds: that is a thread of the pool.
  const int last = fcntl(descriptor_.fd(), F_DUPFD_CLOEXEC, 3);
  descriptor_.Close();
  if (last < 0) return;  // it was done here, for want of a descriptor
  const auto* s = green_internal::Scheduler::GetIfExists();
  if (s == nullptr || s->on_loop_stack() || s->process_exits()) {
    close(last);
    return;
  }
  const Shield shield;
  if (!OnFilesPool([last] { close(last); }).ok()) close(last);
}

void FileWatcher::State::LookAgain() {
  std::vector<std::pair<std::string, bool>> paths;
  for (const auto& [path, polled] : polled_) paths.emplace_back(path, polled.folder);
  absl::StatusOr<std::vector<std::variant<FileSnapshot, int>>> looked = OnFilesPool([&] {
    std::vector<std::variant<FileSnapshot, int>> snapshots;
    for (const auto& [path, folder] : paths) {
      snapshots.push_back(TakeSnapshot(path, folder));
    }
    return snapshots;
  });
  next_look_ = options_.poll_interval;
  if (!looked.ok()) return;  // no thread to be had: the next time
  for (size_t i = 0; i < paths.size(); ++i) {
    const auto it = polled_.find(paths[i].first);
    if (it == polled_.end()) continue;  // not watched any more
    auto* const now = std::get_if<FileSnapshot>(&(*looked)[i]);
    if (now == nullptr) continue;  // it cannot be seen: the next time
    Compare(it->second.before, *now,
            [this](const std::string& path, FileChange change) { Tell(path, change); });
    it->second.before = std::move(*now);
  }
}

// --- FileWatcher ---------------------------------------------------------------------

FileWatcher::FileWatcher(FileWatcherOptions options)
    : state_(std::make_shared<State>(options)) {}

FileWatcher& FileWatcher::operator=(FileWatcher&& other) {
  if (this != &other) {
    Close();
    state_ = std::move(other.state_);
  }
  return *this;
}

FileWatcher::~FileWatcher() { Close(); }

absl::Status FileWatcher::Watch(std::string path) {
  const std::shared_ptr<State> state = state_;
  return state->Watch(Trimmed(std::move(path)));
}

void FileWatcher::Unwatch(const std::string& path) { state_->Unwatch(Trimmed(path)); }

absl::StatusOr<FileEvent> FileWatcher::Next(Deadline deadline) {
  const std::shared_ptr<State> state = state_;
  return state->Next(deadline);
}

void FileWatcher::Close() {
  if (state_ != nullptr) state_->Close();
}

}  // namespace grove
