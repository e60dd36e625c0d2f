#include "grove/net/http/internal/upgraded_stream.h"

#include <string.h>

#include <algorithm>

namespace grove::http::http_internal {

void UpgradedStream::Drain() {
  if (on_drain_) {
    std::exchange(on_drain_, nullptr)();
  } else if (!stream_.closed()) {
    (void)stream_.ShutdownRead();
  }
}

size_t UpgradedStream::TakeAhead(absl::Span<char> buffer) {
  const size_t n = std::min(buffer.size(), ahead_.size() - taken_);
  if (n == 0) return 0;
  memcpy(buffer.data(), ahead_.data() + taken_, n);
  taken_ += n;
  if (taken_ == ahead_.size()) {
    std::string().swap(ahead_);
    taken_ = 0;
  }
  return n;
}

absl::StatusOr<std::optional<size_t>> UpgradedStream::TryRead(absl::Span<char> buffer) {
  if (const size_t n = TakeAhead(buffer)) return n;
  return stream_.TryRead(buffer);
}

absl::StatusOr<size_t> UpgradedStream::DoRead(absl::Span<char> buffer,
                                              Deadline deadline) {
  if (const size_t n = TakeAhead(buffer)) return n;
  return stream_.Read(buffer, deadline);
}

absl::StatusOr<size_t> UpgradedStream::DoReadScatter(
    absl::Span<const absl::Span<char>> buffers, Deadline deadline) {
  if (ahead_.empty()) return stream_.ReadScatter(buffers, deadline);
  size_t n = 0;
  for (absl::Span<char> buffer : buffers) n += TakeAhead(buffer);
  if (n > 0) return n;
  return stream_.ReadScatter(buffers, deadline);
}

absl::Status UpgradedStream::DoWaitReadable(Deadline deadline) {
  if (!ahead_.empty()) return absl::OkStatus();
  return stream_.WaitReadable(deadline);
}

}  // namespace grove::http::http_internal
