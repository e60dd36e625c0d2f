#include "grove/net/buffered_stream.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/hub/internal/check.h"

namespace grove::net {
namespace {

constexpr size_t kFirstSize = 4096;

}  // namespace

// --- StreamReader --------------------------------------------------------------------

StreamReader::StreamReader(Stream& stream, size_t limit)
    : stream_(stream), limit_(limit) {
  GROVE_CHECK(limit > 0, "a StreamReader that may hold 0 bytes");
}

Deadline StreamReader::Earlier(Deadline deadline) const {
  if (stream_.timeout() == absl::InfiniteDuration()) return deadline;
  return std::min(deadline, Deadline(stream_.timeout()));
}

void StreamReader::Consume(size_t n) { begin_ += std::min(n, end_ - begin_); }

// Room behind end_, by moving or by growing. There is some below the limit.
void StreamReader::MakeRoom() {
  if (begin_ > 0 && end_ == size_) {
    memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  if (end_ < size_) return;
  const size_t size = std::min(limit_, std::max(kFirstSize, 2 * size_));
  auto larger = std::make_unique_for_overwrite<char[]>(size);
  if (end_ > 0) memcpy(larger.get(), buffer_.get(), end_);
  buffer_ = std::move(larger);
  size_ = size;
}

absl::StatusOr<bool> StreamReader::Fill(Deadline deadline) {
  if (begin_ == end_) {
    begin_ = end_ = size_ = 0;
    buffer_.reset();
    if (absl::Status s = stream_.WaitReadable(deadline); !s.ok()) return s;
  }
  MakeRoom();
  absl::StatusOr<size_t> n =
      stream_.Read(absl::MakeSpan(buffer_.get() + end_, size_ - end_), deadline);
  if (!n.ok()) return std::move(n).status();
  end_ += *n;
  return *n > 0;
}

absl::Status StreamReader::EndedEarly(absl::string_view wanted) const {
  return absl::OutOfRangeError(absl::StrCat("read from ", stream_.Describe(),
                                            ": the stream ended before ", wanted));
}

absl::Status StreamReader::TooLong(absl::string_view what, size_t limit) const {
  return absl::ResourceExhaustedError(absl::StrCat("read from ", stream_.Describe(), ": ",
                                                   what, " within ", limit, " bytes"));
}

absl::StatusOr<absl::string_view> StreamReader::Peek(size_t n, Deadline deadline) {
  if (n > limit_) {
    return TooLong(absl::StrCat(n, " bytes do not fit"), limit_);
  }
  deadline = Earlier(deadline);
  while (buffered().size() < n) {
    absl::StatusOr<bool> more = Fill(deadline);
    if (!more.ok()) return std::move(more).status();
    if (!*more) return EndedEarly(absl::StrCat("byte ", n));
  }
  return buffered();
}

absl::StatusOr<absl::string_view> StreamReader::ReadMore(Deadline deadline) {
  if (buffered().size() >= limit_) return TooLong("there is no end", limit_);
  absl::StatusOr<bool> more = Fill(deadline);
  if (!more.ok()) return std::move(more).status();
  return buffered();
}

absl::StatusOr<size_t> StreamReader::Read(absl::Span<char> buffer, Deadline deadline) {
  if (buffer.empty()) return 0;
  // What is as large as a buffer needs none.
  if (begin_ == end_ && buffer.size() >= kFirstSize) {
    return stream_.Read(buffer, deadline);
  }
  if (begin_ == end_) {
    absl::StatusOr<bool> more = Fill(deadline);
    if (!more.ok()) return std::move(more).status();
  }
  const size_t n = std::min(buffer.size(), end_ - begin_);
  if (n > 0) memcpy(buffer.data(), buffer_.get() + begin_, n);
  begin_ += n;
  return n;
}

absl::Status StreamReader::ReadExactly(absl::Span<char> buffer, Deadline deadline) {
  deadline = Earlier(deadline);
  size_t done = 0;
  while (done < buffer.size()) {
    absl::StatusOr<size_t> n = Read(buffer.subspan(done), deadline);
    if (!n.ok()) return WithBytesMoved(std::move(n).status(), done);
    if (*n == 0) {
      return WithBytesMoved(
          EndedEarly(absl::StrCat("byte ", done + 1, " of ", buffer.size())), done);
    }
    done += *n;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<char>> StreamReader::ReadByte(Deadline deadline) {
  if (begin_ == end_) {
    absl::StatusOr<bool> more = Fill(deadline);
    if (!more.ok()) return std::move(more).status();
    if (!*more) return std::nullopt;
  }
  return buffer_[begin_++];
}

absl::StatusOr<absl::string_view> StreamReader::ReadUntil(absl::string_view delimiter,
                                                          size_t limit,
                                                          Deadline deadline) {
  GROVE_CHECK(!delimiter.empty(), "StreamReader::ReadUntil() an empty delimiter");
  deadline = Earlier(deadline);
  limit = std::min(limit, limit_);
  size_t searched = 0;
  for (;;) {
    const absl::string_view there = buffered();
    const size_t at = there.find(delimiter, searched);
    const bool found = at != absl::string_view::npos;
    const size_t length = found ? at + delimiter.size() : there.size();
    if (length > limit || (!found && length == limit)) {
      return TooLong("no delimiter", limit);
    }
    if (found) {
      begin_ += length;
      return there.substr(0, length);
    }
    // It may have begun at the end of what there is.
    searched = length < delimiter.size() ? 0 : length - delimiter.size() + 1;
    absl::StatusOr<bool> more = Fill(deadline);
    if (!more.ok()) return std::move(more).status();
    if (!*more) return EndedEarly("the delimiter");
  }
}

absl::StatusOr<std::optional<absl::string_view>> StreamReader::ReadLine(
    size_t limit, Deadline deadline) {
  // With room for the longest end.
  const size_t with_end = limit < limit_ ? std::min(limit + 2, limit_) : limit_;
  absl::StatusOr<absl::string_view> line = ReadUntil("\n", with_end, deadline);
  if (!line.ok()) {
    if (absl::IsOutOfRange(line.status()) && buffered().empty()) return std::nullopt;
    return std::move(line).status();
  }
  absl::string_view text = line->substr(0, line->size() - 1);
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  if (text.size() <= limit) return text;
  begin_ -= line->size();
  return TooLong("no end of the line", limit);
}

absl::Status StreamReader::Discard(size_t n, Deadline deadline) {
  deadline = Earlier(deadline);
  size_t left = n;
  for (;;) {
    const size_t taken = std::min(left, end_ - begin_);
    begin_ += taken;
    left -= taken;
    if (left == 0) return absl::OkStatus();
    absl::StatusOr<bool> more = Fill(deadline);
    if (!more.ok()) return WithBytesMoved(std::move(more).status(), n - left);
    if (!*more) {
      return WithBytesMoved(EndedEarly(absl::StrCat("byte ", n - left + 1, " of ", n)),
                            n - left);
    }
  }
}

// --- StreamWriter --------------------------------------------------------------------

StreamWriter::StreamWriter(Stream& stream, size_t high_watermark)
    : stream_(stream), high_watermark_(high_watermark) {
  GROVE_CHECK(high_watermark > 0, "a StreamWriter that may hold 0 bytes");
}

absl::Status StreamWriter::Flush(Deadline deadline) {
  if (!status_.ok()) return status_;
  if (buffer_.empty()) return absl::OkStatus();
  // What stands if it is interrupted: nobody knows how much of it was written.
  status_ = absl::AbortedError("an earlier write was interrupted");
  status_ = stream_.Write(buffer_, deadline);
  if (status_.ok()) {
    buffer_.clear();
    return absl::OkStatus();
  }
  buffer_.erase(0, BytesMoved(status_));
  if (!absl::IsDeadlineExceeded(status_)) return status_;
  return std::exchange(status_, absl::OkStatus());
}

absl::Status StreamWriter::WriteThrough(absl::string_view data, Deadline deadline) {
  status_ = absl::AbortedError("an earlier write was interrupted");
  status_ = buffer_.empty() ? stream_.Write(data, deadline)
                            : stream_.WriteGather({buffer_, data}, deadline);
  const size_t moved = status_.ok() ? buffer_.size() : BytesMoved(status_);
  // Nothing of `data` has gone, so it was not taken.
  const bool again = absl::IsDeadlineExceeded(status_) && moved <= buffer_.size();
  buffer_.erase(0, std::min(moved, buffer_.size()));
  return again ? std::exchange(status_, absl::OkStatus()) : status_;
}

absl::Status StreamWriter::Write(absl::string_view data, Deadline deadline) {
  if (!status_.ok()) return status_;
  if (buffer_.size() + data.size() >= high_watermark_) {
    return WriteThrough(data, deadline);
  }
  buffer_.append(data.data(), data.size());
  return absl::OkStatus();
}

void StreamWriter::PushWithoutWaiting() {
  while (!buffer_.empty()) {
    const absl::StatusOr<size_t> n = stream_.TryWrite(buffer_);
    if (!n.ok()) {
      status_ = n.status();
      return;
    }
    if (*n == 0) return;
    buffer_.erase(0, *n);
  }
}

absl::Status StreamWriter::TryWrite(absl::string_view data) {
  if (!status_.ok()) return status_;
  if (buffer_.size() + data.size() > high_watermark_) PushWithoutWaiting();
  if (!status_.ok()) return status_;
  if (buffer_.size() + data.size() > high_watermark_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("write to ", stream_.Describe(), ": ", buffer_.size(), " of ",
                     high_watermark_, " bytes wait already"));
  }
  buffer_.append(data.data(), data.size());
  return absl::OkStatus();
}

StreamWriter::~StreamWriter() {
  if (buffer_.empty() || !status_.ok()) return;  // told already
  PushWithoutWaiting();
  if (buffer_.empty()) return;
  fprintf(stderr, "grove: %zu bytes to %s were lost at the end of a StreamWriter%s%s\n",
          buffer_.size(), stream_.Describe().c_str(), status_.ok() ? "" : ": ",
          std::string(status_.message()).c_str());
}

}  // namespace grove::net
