#include "grove/net/copy.h"

#include <array>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/hub/internal/thread_scratch.h"

namespace grove::net {
namespace {

constexpr size_t kBufferSize = size_t{64} << 10;

using HubsBuffer =
    hub_internal::ThreadScratch<std::array<char, kBufferSize>, struct CopiedBytes>;

// So much is written before it is counted.
constexpr size_t kPiece = 4096;

// What could not be written at once has to leave the hub's buffer. Out of line, so that
// the frame in which idle copies sleep stays small.
[[gnu::noinline]] absl::Status WriteRest(Stream& to, std::string rest, uint64_t& copied,
                                         Deadline deadline) {
  absl::string_view left = rest;
  while (!left.empty()) {
    const absl::string_view piece = left.substr(0, kPiece);
    absl::Status s = to.Write(piece, deadline);
    copied += s.ok() ? piece.size() : BytesMoved(s);
    if (!s.ok()) return s;
    left.remove_prefix(piece.size());
    const absl::StatusOr<size_t> more = to.TryWrite(left);
    if (!more.ok()) return more.status();
    copied += *more;
    left.remove_prefix(*more);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Copy(Stream& from, Stream& to, uint64_t* copied, Deadline deadline) {
  uint64_t uncounted = 0;
  uint64_t& total = copied ? *copied : uncounted;
  const uint64_t before = total;
  absl::Status status;
  while (status.ok()) {
    status = from.WaitReadable(deadline);
    if (!status.ok()) break;
    // A stream on which there is always something never waits, and so never finds out.
    if (deadline.HasPassed()) {
      status = absl::DeadlineExceededError(absl::StrCat("copy from ", from.Describe(),
                                                        " to ", to.Describe(),
                                                        ": not at its end in time"));
      break;
    }
    // No switch from here ...
    const absl::Span<char> buffer = absl::MakeSpan(HubsBuffer::Get());
    const absl::StatusOr<std::optional<size_t>> n = from.TryRead(buffer);
    if (!n.ok()) {
      status = n.status();
      break;
    }
    if (!n->has_value()) continue;
    if (**n == 0) {
      if (to.has_unsent()) status = to.Write({}, deadline);
      break;
    }
    const absl::string_view data(buffer.data(), **n);
    const absl::StatusOr<size_t> written = to.TryWrite(data);
    // ... to here.
    if (!written.ok()) {
      status = written.status();
      break;
    }
    total += *written;
    if (*written < data.size()) {
      status = WriteRest(to, std::string(data.substr(*written)), total, deadline);
    }
  }
  return status.ok() ? status : WithBytesMoved(std::move(status), total - before);
}

}  // namespace grove::net
