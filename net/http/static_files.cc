#include "grove/net/http/static_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "grove/green/thread_pool.h"
#include "grove/net/http/date.h"

namespace grove::http {
namespace {

class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
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
  int fd_;
};

// A file below `root`, or none. Each folder on the way is opened by itself where the
// kernel has no openat2(2), without following links.
OwnedFd OpenBelow(int root, const std::string& path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  open_how how{};
  how.flags = kFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  for (int tries = 0; tries < 8; ++tries) {
    const long fd = syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    if (fd >= 0) return OwnedFd(static_cast<int>(fd));
    // A rename on the way: it has to be looked at anew.
    if (errno == EAGAIN || errno == EINTR) continue;
    if (errno != ENOSYS && errno != EPERM) return OwnedFd();
    break;
  }
  OwnedFd at(openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part == "..") return OwnedFd();
    const bool last = part.data() + part.size() == path.data() + path.size();
    at = OwnedFd(openat(at.get(), std::string(part).c_str(),
                        O_NOFOLLOW | (last ? kFlags : O_PATH | O_DIRECTORY | O_CLOEXEC)));
    if (at.get() < 0) break;
  }
  return at;
}

struct Found {
  OwnedFd fd;
  struct stat info = {};
  std::string name;
  bool redirect = false;  // a folder, without the slash
};

// On a thread of the pool.
absl::StatusOr<Found> LookUp(const StaticFilesOptions& options, std::string path) {
  const absl::Status none = absl::NotFoundError(path);
  const OwnedFd root(open(options.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) return none;
  const bool as_folder = path.empty() || path.back() == '/';
  if (as_folder) {
    if (options.index.empty()) return none;
    path += options.index;
  }
  Found found;
  found.fd = OpenBelow(root.get(), path);
  if (found.fd.get() < 0 || fstat(found.fd.get(), &found.info) != 0) return none;
  if (S_ISDIR(found.info.st_mode) && !as_folder && !options.index.empty()) {
    found.redirect = true;
  } else if (!S_ISREG(found.info.st_mode)) {
    return none;
  }
  found.name = std::move(path);
  return found;
}

// Whether a path may be looked up at all.
bool IsServed(absl::string_view path, bool hidden) {
  if (absl::StartsWith(path, "/")) return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == "." || part == "..") return false;
    if (!hidden && absl::StartsWith(part, ".")) return false;
  }
  return true;
}

std::string ETagOf(const struct stat& info) {
  return absl::StrFormat("\"%x-%x%08x\"", info.st_size, info.st_mtim.tv_sec,
                         info.st_mtim.tv_nsec);
}

// Weak comparison, as If-None-Match wants it.
bool Matches(absl::string_view list, absl::string_view etag) {
  if (list == "*") return true;
  for (absl::string_view tag : absl::StrSplit(list, ',')) {
    tag = absl::StripAsciiWhitespace(tag);
    if (absl::StartsWith(tag, "W/")) tag.remove_prefix(2);
    if (tag == etag) return true;
  }
  return false;
}

bool IsNotModified(const Request& request, absl::string_view etag, time_t modified) {
  const HeaderView headers = request.headers();
  if (const auto none_match = headers.Get("If-None-Match")) {
    return Matches(*none_match, etag);
  }
  const auto since = headers.Get("If-Modified-Since");
  const std::optional<time_t> date = since ? ParseDate(*since) : std::nullopt;
  return date.has_value() && modified <= *date;
}

struct Range {
  uint64_t first;
  uint64_t count;
};
enum class RangeKind { kWhole, kPart, kNone };

bool IsNumber(absl::string_view text, uint64_t* number) {
  for (char c : text) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  return absl::SimpleAtoi(text, number);
}

// One range of bytes. What is malformed, or several, is answered with the whole.
RangeKind ParseRange(absl::string_view text, uint64_t size, Range* range) {
  if (!absl::StartsWithIgnoreCase(text, "bytes=")) return RangeKind::kWhole;
  text = absl::StripAsciiWhitespace(text.substr(6));
  const size_t dash = text.find('-');
  if (dash == text.npos) return RangeKind::kWhole;
  const absl::string_view first = text.substr(0, dash);
  const absl::string_view last = text.substr(dash + 1);
  uint64_t from = 0;
  uint64_t to = 0;
  if (first.empty()) {
    if (!IsNumber(last, &to)) return RangeKind::kWhole;
    if (to == 0 || size == 0) return RangeKind::kNone;
    const uint64_t count = std::min(to, size);
    *range = {size - count, count};
    return RangeKind::kPart;
  }
  if (!IsNumber(first, &from)) return RangeKind::kWhole;
  if (last.empty()) {
    to = size == 0 ? 0 : size - 1;
  } else if (!IsNumber(last, &to) || to < from) {
    return RangeKind::kWhole;
  }
  if (from >= size) return RangeKind::kNone;
  *range = {from, std::min(to, size - 1) - from + 1};
  return RangeKind::kPart;
}

// Without If-Range, or if it names what the file is now; a weak tag does not.
bool RangeHolds(const Request& request, absl::string_view etag,
                absl::string_view modified) {
  const auto condition = request.headers().Get("If-Range");
  return !condition || *condition == etag || *condition == modified;
}

void NotFound(ResponseWriter& response) {
  response.Send(404, "text/plain", "Not Found\n").IgnoreError();
}

void Answer(const StaticFilesOptions& options, const Found& found, Request& request,
            ResponseWriter& response) {
  const uint64_t size = static_cast<uint64_t>(found.info.st_size);
  const std::string etag = ETagOf(found.info);
  const std::string modified = FormatDate(found.info.st_mtim.tv_sec);
  HeaderMap& headers = response.headers();
  headers.Set("ETag", etag);
  headers.Set("Last-Modified", modified);
  if (!options.cache_control.empty()) {
    headers.Set("Cache-Control", options.cache_control);
  }
  if (IsNotModified(request, etag, found.info.st_mtim.tv_sec)) {
    response.set_status(304);
    response.Send("").IgnoreError();
    return;
  }
  headers.Set("Accept-Ranges", "bytes");
  headers.Set("Content-Type", MimeTypeOf(found.name));
  Range range{0, size};
  const auto asked = request.headers().Get("Range");
  if (asked && request.method() == "GET" && RangeHolds(request, etag, modified)) {
    switch (ParseRange(*asked, size, &range)) {
      case RangeKind::kWhole:
        break;
      case RangeKind::kPart:
        response.set_status(206);
        headers.Set("Content-Range",
                    absl::StrCat("bytes ", range.first, "-",
                                 range.first + range.count - 1, "/", size));
        break;
      case RangeKind::kNone:
        headers.Set("Content-Range", absl::StrCat("bytes */", size));
        response.Send(416, "text/plain", "Range Not Satisfiable\n").IgnoreError();
        return;
    }
  }
  response.SendFile(found.fd.get(), range.first, range.count).IgnoreError();
}

void Serve(const StaticFilesOptions& options, Request& request,
           ResponseWriter& response) {
  if (request.method() != "GET" && request.method() != "HEAD") {
    response.headers().Set("Allow", "GET, HEAD");
    response.Send(405, "text/plain", "Method Not Allowed\n").IgnoreError();
    return;
  }
  const auto path = request.parameter(options.parameter);
  if (!path.has_value() || !IsServed(*path, options.hidden)) return NotFound(response);
  static ThreadPool& pool = ThreadPool::Named("files");
  const absl::StatusOr<Found> found =
      pool.Apply([&options, name = std::string(*path)] { return LookUp(options, name); });
  if (absl::IsNotFound(found.status())) return NotFound(response);
  if (!found.ok()) {
    response.Send(503, "text/plain", "Service Unavailable\n").IgnoreError();
    return;
  }
  if (found->redirect) {
    const absl::string_view query = request.query();
    // Two slashes at its front would be another host.
    absl::string_view target = request.path();
    while (absl::StartsWith(target, "//")) target.remove_prefix(1);
    response.headers().Set("Location",
                           absl::StrCat(target, "/", query.empty() ? "" : "?", query));
    response.Send(301, "text/plain", "Moved Permanently\n").IgnoreError();
    return;
  }
  Answer(options, *found, request, response);
}

}  // namespace

Handler StaticFiles(StaticFilesOptions options) {
  return [options = std::move(options)](Request& request, ResponseWriter& response) {
    Serve(options, request, response);
  };
}

}  // namespace grove::http
