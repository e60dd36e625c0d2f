#ifndef GROVE_GREEN_OS_FILE_WATCHER_H_
#define GROVE_GREEN_OS_FILE_WATCHER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"

namespace grove {

// What has happened to a file.
enum class FileChange {
  kCreated,     // it is there
  kModified,    // its content
  kAttributes,  // its permissions, owner or times
  kMovedHere,   // another file has got its name; so ends an atomic replacement
  kMovedAway,   // it has got another name
  kRemoved,     // it is not there any more
  // The folder that was watched for it is gone, or has got another name: nothing more is
  // told of this path. Watch() it again.
  kUnwatched,
  // Changes were lost, for nobody came for them in time: look at everything that is
  // watched. The path is empty.
  kRescan,
};

// FileEvent
struct FileEvent {
  std::string path;
  FileChange change;

  friend bool operator==(const FileEvent&, const FileEvent&) = default;
};

// FileWatcherOptions
struct FileWatcherOptions {
  // How often a path is looked at of which the kernel tells nothing.
  absl::Duration poll_interval = absl::Seconds(1);
  // Look at all of them, and ask the kernel for nothing.
  bool always_poll = false;
};

// FileWatcher
//
// Tells of changes to files and folders.
//
//   FileWatcher watcher;
//   if (absl::Status s = watcher.Watch("/etc/app.conf"); !s.ok()) return s;
//   Load("/etc/app.conf");  // what changes from here on is told
//   for (;;) {
//     absl::StatusOr<FileEvent> event = watcher.Next();
//     if (!event.ok()) return event.status();
//     Load("/etc/app.conf");
//   }
//
// What is watched is the name, in its folder, by inotify(7): so a file may be replaced
// (ReplaceFile(), editors), removed, and come back. A symbolic link is watched itself,
// not what it names. Some changes leave no trace: those by mmap(2), and below /proc and
// /sys.
//
// Paths on network file systems, where inotify sees only what this machine does, and all
// paths when the system's limits for inotify are used up, are looked at by stat(2) every
// poll_interval instead, on a thread of the pool "files". Then links are followed, what
// came and went between two looks is not seen, and kMovedAway is kRemoved.
//
// Equal events in a row may be one.
//
// Threads: its hub's, that of the first Watch(). One greenlet at a time may wait.
class FileWatcher {
 public:
  explicit FileWatcher(FileWatcherOptions options = {});
  FileWatcher(FileWatcher&&) = default;
  FileWatcher& operator=(FileWatcher&& other);
  // Close().
  ~FileWatcher();

  // FileWatcher::Watch()
  //
  // From its return on, tells of a file, which need not be there yet, under the path that
  // is given here; or of everything in a folder, but not in those below it, as
  // "path/name". kNotFound if the folder in which the file is to be is not there. No
  // effect if it is watched already.
  //
  // Blocks: until a thread has looked at it. Kill: throws; it is watched or not.
  absl::Status Watch(std::string path);

  // FileWatcher::Unwatch()
  //
  // What has been told of it before may still come. No effect if it is not watched.
  void Unwatch(const std::string& path);

  // FileWatcher::Next()
  //
  // The next change, in the order in which they happened; at once if one happened before.
  // kFailedPrecondition if nothing was ever watched.
  //
  // Blocks: until there is one.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; no change is lost.
  absl::StatusOr<FileEvent> Next(Deadline deadline = {});

  // FileWatcher::Close()
  //
  // Who waits gets kCancelled.
  //
  // Blocks: until the kernel has let go of what was watched, which takes milliseconds;
  // not interrupted.
  void Close();

 private:
  class State;
  std::shared_ptr<State> state_;
};

}  // namespace grove

#endif  // GROVE_GREEN_OS_FILE_WATCHER_H_
