#ifndef GROVE_NET_INTERNAL_WATCHED_FILE_H_
#define GROVE_NET_INTERNAL_WATCHED_FILE_H_

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "grove/hub/clock.h"

namespace grove::net::net_internal {

// The text of a file; nothing if it cannot be read.
std::string ReadSmallFile(const std::string& path);

// FileStamp
//
// What tells one state of a file from another, as stat(2) sees it.
struct FileStamp {
  bool exists = false;
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size = 0;
  int64_t modified = 0;  // in nanoseconds
  int64_t changed = 0;

  static FileStamp Of(const std::string& path);
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// WatchedFile
//
// What a small file of the system's configuration says, read again when it has changed:
// at each use, but at most once a second of the hub's clock, it asks stat(2). A file that
// is not there says nothing. Reading blocks the thread, as any file does.
template <typename T>
class WatchedFile {
 public:
  using Parse = std::function<T(absl::string_view)>;

  WatchedFile(std::string path, Parse parse)
      : path_(std::move(path)), parse_(std::move(parse)) {}

  // Valid until the next call.
  const T& Get(MonotonicNanos now) {
    if (value_ && now < look_again_) return *value_;
    look_again_ = now + 1'000'000'000;
    // Before it is read: what changes meanwhile is seen the next time.
    const FileStamp stamp = FileStamp::Of(path_);
    if (!value_ || stamp != stamp_) {
      stamp_ = stamp;
      value_ = parse_(ReadSmallFile(path_));
      ++generation_;
    }
    return *value_;
  }

  // How many times it was read.
  uint64_t generation() const { return generation_; }

 private:
  const std::string path_;
  const Parse parse_;
  std::optional<T> value_;
  FileStamp stamp_;
  MonotonicNanos look_again_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_WATCHED_FILE_H_
