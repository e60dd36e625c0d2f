#ifndef GROVE_NET_PIPE_STREAM_H_
#define GROVE_NET_PIPE_STREAM_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/os/pipe.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::net {

// PipeStream
//
// A pipe to read from and one to write to, as one Stream: the two of a child process, or
// stdin and stdout. See Stream for what reading and writing promise. The timeout is the
// stream's own; those of the two ends are not looked at.
//
//   PipeStream stream(*Stdin(), *Stdout());
//   Serve(stream);
//
// Either may be closed from the start, for one direction only.
class PipeStream final : public Stream {
 public:
  PipeStream(PipeReader reader, PipeWriter writer);
  PipeStream(PipeStream&&) = default;
  PipeStream& operator=(PipeStream&&) = default;
  // Closes both.
  ~PipeStream() override;

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override;
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override;
  // Closes the end that is written, which its reader sees once nobody else has it open.
  absl::Status ShutdownWrite() override;
  absl::Status ShutdownRead() override;
  void Close() override;
  bool closed() const override;
  // "fd 7 and fd 9"
  std::string Describe() const override;

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) override;
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                       Deadline deadline) override;
  absl::Status DoWaitReadable(Deadline deadline) override;
  absl::Status DoWrite(absl::string_view data, Deadline deadline) override;
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) override;

  // Shared with who waits, since ShutdownRead() has to wake it.
  struct Ends;
  std::shared_ptr<Ends> ends_;
};

}  // namespace grove::net

#endif  // GROVE_NET_PIPE_STREAM_H_
