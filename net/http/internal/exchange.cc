#include <string.h>

#include <algorithm>
#include <utility>

#include "grove/net/http/internal/server_connection.h"

namespace grove::http::http_internal {
namespace {

// Less room than this behind a head is not read to: the calls would be too many.
constexpr size_t kLittleRoom = 2048;
// A response that was larger than usual does not keep its memory.
constexpr size_t kKeepOut = 64 << 10;

}  // namespace

absl::Span<char> Exchange::RoomForHead() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (end_ == capacity_) {
    const size_t size = end_ - begin_;
    if (begin_ > 0) {
      memmove(buffer_.get(), buffer_.get() + begin_, size);
    } else {
      std::unique_ptr<char[]> larger(new char[capacity_ * 2]);
      memcpy(larger.get(), buffer_.get(), size);
      buffer_ = std::move(larger);
      capacity_ *= 2;
    }
    begin_ = 0;
    end_ = size;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

absl::Span<char> Exchange::RoomForBody() {
  if (begin_ == end_) begin_ = end_ = keep_;
  if (capacity_ - end_ < kLittleRoom) {
    const size_t size = end_ - begin_;
    if (begin_ - keep_ >= kLittleRoom) {
      memmove(buffer_.get() + keep_, buffer_.get() + begin_, size);
      begin_ = keep_;
    } else {
      std::unique_ptr<char[]> other(new char[size + kBufferSize]);
      memcpy(other.get(), buffer_.get() + begin_, size);
      std::unique_ptr<char[]> old = std::exchange(buffer_, std::move(other));
      if (!held_) held_ = std::move(old);
      capacity_ = size + kBufferSize;
      keep_ = begin_ = 0;
    }
    end_ = begin_ + size;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void Exchange::EndRequest() {
  held_.reset();
  keep_ = 0;
  response.End();
  parser.Reset();
}

void Exchange::Clear() {
  EndRequest();
  begin_ = end_ = 0;
  if (capacity_ != kBufferSize) {
    buffer_.reset(new char[kBufferSize]);
    capacity_ = kBufferSize;
  }
  out.clear();
  if (out.capacity() > kKeepOut) std::string().swap(out);
}

}  // namespace grove::http::http_internal
