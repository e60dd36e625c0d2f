#include "grove/net/internal/tls_buffers.h"

#include <string.h>

#include <algorithm>
#include <utility>

namespace grove::net::tls_internal {
namespace {

thread_local std::unique_ptr<BufferLease::Buffers> free_buffers;

}  // namespace

BufferLease::BufferLease() {
  if (free_buffers == nullptr) {
    buffers_.reset(new Buffers);  // uninitialised
  } else {
    buffers_ = std::move(free_buffers);
    free_buffers = std::move(buffers_->next);
  }
}

BufferLease::~BufferLease() {
  buffers_->next = std::move(free_buffers);
  free_buffers = std::move(buffers_);
}

absl::string_view PieceCursor::Peek(absl::Span<char> room) const {
  const absl::string_view first = pieces_.front().substr(taken_);
  if (pieces_.size() == 1 || first.size() >= kRecordSize) {
    return first.substr(0, kRecordSize);
  }
  size_t gathered = 0;
  for (size_t i = 0; i < pieces_.size() && gathered < kRecordSize; ++i) {
    const absl::string_view piece = i == 0 ? first : pieces_[i];
    const size_t size = std::min(piece.size(), kRecordSize - gathered);
    if (size == 0) continue;
    memcpy(room.data() + gathered, piece.data(), size);
    gathered += size;
  }
  return {room.data(), gathered};
}

void PieceCursor::Take(size_t size) {
  while (size > 0) {
    const size_t step = std::min(size, pieces_.front().size() - taken_);
    size -= step;
    taken_ += step;
    SkipEmpty();
  }
}

}  // namespace grove::net::tls_internal
