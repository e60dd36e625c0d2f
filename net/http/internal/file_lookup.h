#ifndef GROVE_NET_HTTP_INTERNAL_FILE_LOOKUP_H_
#define GROVE_NET_HTTP_INTERNAL_FILE_LOOKUP_H_

#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grove::http::http_internal {

class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~OwnedFd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// FileRoot
//
// A folder below which names are looked up. It stays open, and is opened anew once its
// path leads elsewhere: a link that is exchanged is seen by the next look-up.
//
// Threads: any.
class FileRoot {
 public:
  explicit FileRoot(std::string path) : path_(std::move(path)) {}

  // What a look-up may do: only what cannot wait for a disk or a server, which is for the
  // hub's thread; or whatever it takes, which is for a thread of a pool.
  enum class Mode { kCached, kBlocking };
  enum class Outcome {
    kFile,
    kFolder,      // with a slash at its end
    kRedirect,    // a folder, without the slash
    kNone,        // no such file, or none that may be served
    kWouldBlock,  // with kCached only: ask again with kBlocking
    kFailed,      // nobody can say: out of descriptors or memory, or a broken disk
  };
  struct Wanted {
    std::string path;                             // checked by the caller
    absl::string_view index = {};                 // in place of a folder
    bool folders = false;                         // also those without an index
    absl::Span<const absl::string_view> codings;  // siblings that would do, best first
  };
  struct Found {
    Outcome outcome = Outcome::kNone;
    OwnedFd fd;
    struct stat info = {};
    std::string name;
    absl::string_view coding = {};  // of a sibling
  };
  Found LookUp(const Wanted& wanted, Mode mode) const;

 private:
  struct Opened {
    OwnedFd fd;
    struct stat info;
  };
  // Null if it is not there, or would block.
  std::shared_ptr<const Opened> Open(Mode mode, Outcome* failure) const;

  const std::string path_;
  mutable std::mutex mutex_;  // held for a copy of the pointer only
  mutable std::shared_ptr<const Opened> opened_;
};

// ".br" of "br", ".gz" of "gzip"; empty for others.
absl::string_view SuffixOfCoding(absl::string_view coding);

// ListFolder()
//
// A page with the regular files and folders in an open folder, by name; those that begin
// with a dot too if `hidden`. At most 10,000. For a thread of a pool.
std::string ListFolder(int fd, absl::string_view title, bool is_root, bool hidden);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_FILE_LOOKUP_H_
