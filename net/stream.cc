#include "grove/net/stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"

namespace grove::net {
namespace {

absl::Status EndedEarly(const Stream& stream, absl::string_view wanted) {
  return absl::OutOfRangeError(absl::StrCat("read from ", stream.Describe(),
                                            ": the stream ended before ", wanted));
}

}  // namespace

absl::Status Stream::ReadExactly(absl::Span<char> buffer, Deadline deadline) {
  deadline = Earlier(deadline);  // once for all the reads
  size_t done = 0;
  while (done < buffer.size()) {
    absl::StatusOr<size_t> n = DoRead(buffer.subspan(done), deadline);
    if (!n.ok()) return WithBytesMoved(std::move(n).status(), done);
    if (*n == 0) {
      return WithBytesMoved(
          EndedEarly(*this, absl::StrCat("byte ", done + 1, " of ", buffer.size())),
          done);
    }
    done += *n;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Stream::ReadUntil(absl::string_view delimiter,
                                              std::string& rest, size_t limit,
                                              Deadline deadline) {
  deadline = Earlier(deadline);
  size_t searched = 0;
  for (;;) {
    const size_t at = rest.find(delimiter.data(), searched, delimiter.size());
    const size_t end = at == std::string::npos ? rest.size() : at + delimiter.size();
    if (at != std::string::npos && end <= limit) {
      std::string line = rest.substr(0, end);
      rest.erase(0, end);
      return line;
    }
    if (end >= limit) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "read from ", Describe(), ": no delimiter within ", limit, " bytes"));
    }
    // The delimiter may have begun at the end of what there is.
    searched = rest.size() < delimiter.size() ? 0 : rest.size() - delimiter.size() + 1;
    char buffer[4096];
    absl::StatusOr<size_t> n = DoRead(absl::MakeSpan(buffer), deadline);
    if (!n.ok()) return WithBytesMoved(std::move(n).status(), rest.size());
    if (*n == 0) return EndedEarly(*this, "the delimiter");
    rest.append(buffer, *n);
  }
}

}  // namespace grove::net
