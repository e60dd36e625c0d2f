#include "grove/green/os/buffered.h"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/timeout.h"

namespace grove {

// --- BufferedReader ------------------------------------------------------------------

absl::StatusOr<bool> BufferedReader::Fill() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ > 0 && end_ == buffer_.size()) {
    memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  // A line longer than the buffer makes it grow.
  if (end_ == buffer_.size()) buffer_.resize(std::max(buffer_size_, 2 * end_));
  absl::StatusOr<size_t> n = read_(source_, absl::MakeSpan(buffer_).subspan(end_));
  status_ = n.status();
  if (!n.ok()) return status_;
  end_ += *n;
  return *n > 0;
}

absl::StatusOr<size_t> BufferedReader::Read(absl::Span<char> buffer) {
  if (buffer.empty()) return 0;
  if (begin_ == end_) {
    absl::StatusOr<bool> more = Fill();
    if (!more.ok()) return std::move(more).status();
  }
  const size_t n = std::min(buffer.size(), end_ - begin_);
  memcpy(buffer.data(), buffer_.data() + begin_, n);
  begin_ += n;
  return n;
}

absl::StatusOr<std::optional<absl::string_view>> BufferedReader::ReadLine(size_t limit) {
  size_t searched = 0;
  for (;;) {
    const absl::string_view there = Buffered();
    const size_t at = there.find('\n', searched);
    const size_t length = at == absl::string_view::npos ? there.size() : at;
    if (length > limit) {
      status_ = absl::ResourceExhaustedError(
          absl::StrCat("read a line: it has more than ", limit, " bytes"));
      return status_;
    }
    if (at != absl::string_view::npos) {
      begin_ += at + 1;
      return there.substr(0, at);
    }
    searched = there.size();
    absl::StatusOr<bool> more = Fill();
    if (!more.ok()) return std::move(more).status();
    if (!*more) {
      if (begin_ == end_) return std::nullopt;
      const absl::string_view last = Buffered();
      begin_ = end_;
      return last;
    }
  }
}

absl::StatusOr<std::string> BufferedReader::ReadAll(size_t limit) {
  for (;;) {
    if (end_ - begin_ > limit) {
      status_ = absl::ResourceExhaustedError(
          absl::StrCat("read all: there are more than ", limit, " bytes"));
      return status_;
    }
    absl::StatusOr<bool> more = Fill();
    if (!more.ok()) return std::move(more).status();
    if (!*more) break;
  }
  std::string all(Buffered());
  begin_ = end_;
  return all;
}

// --- BufferedWriter ------------------------------------------------------------------

absl::Status BufferedWriter::Hand(absl::string_view data) {
  // What stands if the write is interrupted: nobody knows how much of it was done.
  status_ = absl::AbortedError("an earlier write was interrupted");
  status_ = write_(sink_, data);
  return status_;
}

absl::Status BufferedWriter::Flush() {
  if (!status_.ok()) return status_;
  if (buffer_.empty()) return absl::OkStatus();
  if (absl::Status s = Hand(buffer_); !s.ok()) return s;
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status BufferedWriter::Write(absl::string_view data) {
  if (!status_.ok()) return status_;
  if (buffer_.size() + data.size() > buffer_size_) {
    if (absl::Status s = Flush(); !s.ok()) return s;
    // What would fill the buffer by itself need not go through it.
    if (data.size() >= buffer_size_) return Hand(data);
  }
  if (buffer_.capacity() < buffer_size_) buffer_.reserve(buffer_size_);
  buffer_.append(data.data(), data.size());
  return absl::OkStatus();
}

BufferedWriter::~BufferedWriter() {
  if (buffer_.empty() || !status_.ok()) return;  // told already
  const Shield shield;
  if (absl::Status s = Flush(); !s.ok()) {
    fprintf(stderr, "grove: %zu bytes were lost at the end of a BufferedWriter: %s\n",
            buffer_.size(), s.ToString().c_str());
  }
}

}  // namespace grove
