#include "grove/net/http/static_files.h"

#include <time.h>

#include <cstdint>
#include <memory>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grove/green/thread_pool.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/content_coding.h"
#include "grove/net/http/date.h"
#include "grove/net/http/internal/byte_ranges.h"
#include "grove/net/http/internal/file_lookup.h"
#include "grove/net/http/preconditions.h"

namespace grove::http {
namespace {

using http_internal::ByteRange;
using http_internal::FileRoot;
using http_internal::RangeKind;
using Mode = FileRoot::Mode;
using Outcome = FileRoot::Outcome;

// Whether a path may be looked up at all.
bool IsServed(absl::string_view path, bool hidden) {
  if (absl::StartsWith(path, "/")) return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == "." || part == "..") return false;
    if (!hidden && absl::StartsWith(part, ".")) return false;
  }
  return true;
}

std::string ETagOf(const FileRoot::Found& found) {
  return absl::StrCat("\"", absl::Hex(found.info.st_size), "-",
                      absl::Hex(found.info.st_mtim.tv_sec),
                      absl::Hex(found.info.st_mtim.tv_nsec, absl::kZeroPad8),
                      found.coding.empty() ? "" : "-", found.coding, "\"");
}

void NotFound(ResponseWriter& response) {
  response.Send(404, "text/plain", "Not Found\n").IgnoreError();
}

std::string ContentRange(const ByteRange& range, uint64_t size) {
  return absl::StrCat("bytes ", range.first, "-", range.first + range.count - 1, "/",
                      size);
}

// What no file has in it: 128 bits at random.
std::string NewBoundary() {
  std::random_device random;
  std::string boundary = "grove";
  for (int i = 0; i < 4; ++i) {
    absl::StrAppend(&boundary, absl::Hex(uint32_t{random()}, absl::kZeroPad8));
  }
  return boundary;
}

// RFC 9110, 14.6.
absl::Status SendParts(int fd, const std::vector<ByteRange>& parts, uint64_t size,
                       ResponseWriter& response) {
  HeaderMap& headers = response.headers();
  const std::string boundary = NewBoundary();
  const std::string type(headers.Get("Content-Type").value_or(""));
  const std::string end = absl::StrCat("\r\n--", boundary, "--\r\n");
  std::vector<std::string> heads;
  uint64_t length = end.size();
  for (const ByteRange& part : parts) {
    heads.push_back(absl::StrCat(
        heads.empty() ? "--" : "\r\n--", boundary, "\r\nContent-Type: ", type,
        "\r\nContent-Range: ", ContentRange(part, size), "\r\n\r\n"));
    length += heads.back().size() + part.count;
  }
  headers.Set("Content-Type", absl::StrCat("multipart/byteranges; boundary=", boundary));
  headers.Set("Content-Length", absl::StrCat(length));
  for (size_t i = 0; i < parts.size(); ++i) {
    if (absl::Status s = response.Write(heads[i]); !s.ok()) return s;
    if (absl::Status s = response.WriteFile(fd, parts[i].first, parts[i].count);
        !s.ok()) {
      return s;
    }
  }
  if (absl::Status s = response.Write(end); !s.ok()) return s;
  return response.Finish();
}

class FilesHandler {
 public:
  explicit FilesHandler(StaticFilesOptions options)
      : options_(std::move(options)), root_(options_.root) {
    for (const std::string& coding : options_.precompressed) {
      GROVE_CHECK(!http_internal::SuffixOfCoding(coding).empty(),
                  "StaticFiles: no coding of files: '", coding, "'");
    }
  }

  void Serve(Request& request, ResponseWriter& response) const {
    if (request.method() != "GET" && request.method() != "HEAD") {
      response.headers().Set("Allow", "GET, HEAD");
      response.Send(405, "text/plain", "Method Not Allowed\n").IgnoreError();
      return;
    }
    const auto path = request.parameter(options_.parameter);
    if (!path.has_value() || !IsServed(*path, options_.hidden)) return NotFound(response);
    const absl::StatusOr<FileRoot::Found> found = LookUp(*path, request);
    if (!found.ok() || found->outcome == Outcome::kFailed) {
      response.Send(503, "text/plain", "Service Unavailable\n").IgnoreError();
      return;
    }
    switch (found->outcome) {
      case Outcome::kFile:
        return SendFile(*found, request, response);
      case Outcome::kFolder:
        return SendListing(*found, path->empty(), request, response);
      case Outcome::kRedirect:
        return Redirect(request, response);
      default:
        return NotFound(response);
    }
  }

 private:
  static ThreadPool& Pool() {
    static ThreadPool& pool = ThreadPool::Named("files");
    return pool;
  }

  absl::StatusOr<FileRoot::Found> LookUp(absl::string_view path,
                                         const Request& request) const {
    FileRoot::Wanted wanted{.path = std::string(path),
                            .index = options_.index,
                            .folders = options_.listing,
                            .codings = {}};
    std::vector<absl::string_view> codings;
    if (!options_.precompressed.empty()) {
      codings = CodingsFor(request);
      wanted.codings = codings;
    }
    FileRoot::Found found = root_.LookUp(wanted, Mode::kCached);
    if (found.outcome != Outcome::kWouldBlock) return found;
    return Pool().Apply([&] { return root_.LookUp(wanted, Mode::kBlocking); });
  }

  // Those that the client likes no less than the file itself, best first.
  std::vector<absl::string_view> CodingsFor(const Request& request) const {
    const AcceptedCodings accepted(request.headers());
    std::vector<absl::string_view> left(options_.precompressed.begin(),
                                        options_.precompressed.end());
    std::vector<absl::string_view> codings;
    for (absl::string_view best; !(best = accepted.Best(left)).empty();) {
      codings.push_back(best);
      std::erase(left, best);
    }
    return codings;
  }

  void SendFile(const FileRoot::Found& found, Request& request,
                ResponseWriter& response) const {
    const uint64_t size = static_cast<uint64_t>(found.info.st_size);
    const time_t modified = found.info.st_mtim.tv_sec;
    const std::string etag = ETagOf(found);
    HeaderMap& headers = response.headers();
    headers.Set("ETag", etag);
    headers.Set("Last-Modified", FormatDate(modified));
    if (!options_.cache_control.empty()) {
      headers.Set("Cache-Control", options_.cache_control);
    }
    if (!options_.precompressed.empty()) AddVary(&headers, "Accept-Encoding");
    switch (CheckPreconditions(request, etag, modified)) {
      case Precondition::kHolds:
        break;
      case Precondition::kNotModified:
        response.set_status(304);
        response.Send("").IgnoreError();
        return;
      case Precondition::kFailed:
        response.Send(412, "text/plain", "Precondition Failed\n").IgnoreError();
        return;
    }
    headers.Set("Accept-Ranges", "bytes");
    headers.Set("Content-Type", MimeTypeOf(found.name));
    if (!found.coding.empty()) headers.Set("Content-Encoding", found.coding);
    const auto asked = request.headers().Get("Range");
    if (asked && request.method() == "GET" &&
        RangeHolds(request, etag, modified, time(nullptr))) {
      std::vector<ByteRange> parts;
      switch (http_internal::ParseRanges(*asked, size, options_.max_ranges, &parts)) {
        case RangeKind::kWhole:
          break;
        case RangeKind::kParts:
          return SendRanges(found, parts, response);
        case RangeKind::kNone:
          headers.Remove("Content-Encoding");
          headers.Set("Content-Range", absl::StrCat("bytes */", size));
          response.Send(416, "text/plain", "Range Not Satisfiable\n").IgnoreError();
          return;
      }
    }
    response.SendFile(found.fd.get(), 0, size).IgnoreError();
  }

  static void SendRanges(const FileRoot::Found& found,
                         const std::vector<ByteRange>& parts, ResponseWriter& response) {
    const uint64_t size = static_cast<uint64_t>(found.info.st_size);
    response.set_status(206);
    if (parts.size() > 1) {
      SendParts(found.fd.get(), parts, size, response).IgnoreError();
      return;
    }
    response.headers().Set("Content-Range", ContentRange(parts[0], size));
    response.SendFile(found.fd.get(), parts[0].first, parts[0].count).IgnoreError();
  }

  void SendListing(const FileRoot::Found& found, bool is_root, Request& request,
                   ResponseWriter& response) const {
    const std::string title = DecodePercent(request.path()).value_or("");
    const absl::StatusOr<std::string> page =
        Pool().Apply([&]() -> absl::StatusOr<std::string> {
          return http_internal::ListFolder(found.fd.get(), title, is_root,
                                           options_.hidden);
        });
    if (!page.ok()) {
      response.Send(503, "text/plain", "Service Unavailable\n").IgnoreError();
      return;
    }
    response.headers().Set("Content-Security-Policy", "default-src 'none'");
    response.Send(200, "text/html; charset=utf-8", *page).IgnoreError();
  }

  static void Redirect(Request& request, ResponseWriter& response) {
    const absl::string_view query = request.query();
    // Two slashes at its front would be another host.
    absl::string_view target = request.path();
    while (absl::StartsWith(target, "//")) target.remove_prefix(1);
    response.headers().Set("Location",
                           absl::StrCat(target, "/", query.empty() ? "" : "?", query));
    response.Send(301, "text/plain", "Moved Permanently\n").IgnoreError();
  }

  const StaticFilesOptions options_;
  const FileRoot root_;
};

}  // namespace

Handler StaticFiles(StaticFilesOptions options) {
  const auto files = std::make_shared<const FilesHandler>(std::move(options));
  return [files](Request& request, ResponseWriter& response) {
    files->Serve(request, response);
  };
}

}  // namespace grove::http
