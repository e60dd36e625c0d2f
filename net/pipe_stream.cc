#include "grove/net/pipe_stream.h"

#include "absl/strings/str_cat.h"

namespace grove::net {

struct PipeStream::Ends {
  // After ShutdownRead(): what has arrived, then the end.
  absl::StatusOr<size_t> ReadRest(absl::Span<char> buffer) {
    const absl::StatusOr<std::optional<size_t>> n = reader.TryRead(buffer);
    if (!n.ok()) return n.status();
    return n->value_or(0);
  }
  // Whether a read that ended so did because of ShutdownRead().
  bool EndedByShutdown(const absl::Status& status) const {
    return read_shut && absl::IsCancelled(status) && !reader.closed();
  }

  PipeReader reader;
  PipeWriter writer;
  bool read_shut = false;
};

PipeStream::PipeStream(PipeReader reader, PipeWriter writer)
    : ends_(std::make_shared<Ends>()) {
  ends_->reader = std::move(reader);
  ends_->writer = std::move(writer);
}

PipeStream::~PipeStream() {
  if (ends_ != nullptr) Close();
}

void PipeStream::Close() {
  ends_->reader.Close();
  ends_->writer.Close();
}

bool PipeStream::closed() const {
  return ends_->reader.closed() && ends_->writer.closed();
}

std::string PipeStream::Describe() const {
  return absl::StrCat(ends_->reader.name(), " and ", ends_->writer.name());
}

absl::StatusOr<std::optional<size_t>> PipeStream::TryRead(absl::Span<char> buffer) {
  if (!ends_->read_shut) return ends_->reader.TryRead(buffer);
  const absl::StatusOr<size_t> n = ends_->ReadRest(buffer);
  if (!n.ok()) return n.status();
  return *n;
}

absl::StatusOr<size_t> PipeStream::TryWrite(absl::string_view data) {
  return ends_->writer.TryWrite(data);
}

absl::Status PipeStream::ShutdownWrite() {
  ends_->writer.Close();
  return absl::OkStatus();
}

absl::Status PipeStream::ShutdownRead() {
  ends_->read_shut = true;
  ends_->reader.CancelWait();
  return absl::OkStatus();
}

absl::StatusOr<size_t> PipeStream::DoRead(absl::Span<char> buffer, Deadline deadline) {
  const std::shared_ptr<Ends> ends = ends_;
  if (ends->read_shut) return ends->ReadRest(buffer);
  absl::StatusOr<size_t> n = ends->reader.Read(buffer, deadline);
  if (!n.ok() && ends->EndedByShutdown(n.status())) return ends->ReadRest(buffer);
  return n;
}

absl::StatusOr<size_t> PipeStream::DoReadScatter(
    absl::Span<const absl::Span<char>> buffers, Deadline deadline) {
  const std::shared_ptr<Ends> ends = ends_;
  if (!ends->read_shut) {
    absl::StatusOr<size_t> n = ends->reader.ReadScatter(buffers, deadline);
    if (n.ok() || !ends->EndedByShutdown(n.status())) return n;
  }
  for (const absl::Span<char>& buffer : buffers) {
    if (!buffer.empty()) return ends->ReadRest(buffer);
  }
  return 0;
}

absl::Status PipeStream::DoWaitReadable(Deadline deadline) {
  const std::shared_ptr<Ends> ends = ends_;
  if (ends->read_shut) return absl::OkStatus();
  absl::Status status = ends->reader.WaitReadable(deadline);
  return ends->EndedByShutdown(status) ? absl::OkStatus() : status;
}

absl::Status PipeStream::DoWrite(absl::string_view data, Deadline deadline) {
  const std::shared_ptr<Ends> ends = ends_;
  return ends->writer.Write(data, deadline);
}

absl::Status PipeStream::DoWriteGather(absl::Span<const absl::string_view> pieces,
                                       Deadline deadline) {
  const std::shared_ptr<Ends> ends = ends_;
  return ends->writer.WriteGather(pieces, deadline);
}

}  // namespace grove::net
