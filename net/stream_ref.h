#ifndef GROVE_NET_STREAM_REF_H_
#define GROVE_NET_STREAM_REF_H_

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::net {

// StreamRef
//
// Somebody else's stream, for who would own one. A handler whose connection goes over to
// TLS leaves the stream that it was given where it is, so that the server's limits and
// its drain find it there:
//
//   void Handle(TcpStream& tcp) {
//     ...
//     TlsStream stream(StreamRef(tcp), tls);
//
// All calls go to that stream, Close() too; its end is no end of the stream. The timeout
// of either applies. The stream outlives it.
class StreamRef final : public Stream {
 public:
  explicit StreamRef(Stream& stream) : stream_(&stream) {}

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override {
    return stream_->TryRead(buffer);
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override {
    return stream_->TryWrite(data);
  }
  bool has_unsent() const override { return stream_->has_unsent(); }
  absl::Status ShutdownWrite() override { return stream_->ShutdownWrite(); }
  absl::Status ShutdownRead() override { return stream_->ShutdownRead(); }
  void Close() override { stream_->Close(); }
  bool closed() const override { return stream_->closed(); }
  void Abort() override { stream_->Abort(); }
  std::string Describe() const override { return stream_->Describe(); }
  Activity activity() const override { return stream_->activity(); }

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) override {
    return stream_->Read(buffer, deadline);
  }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                       Deadline deadline) override {
    return stream_->ReadScatter(buffers, deadline);
  }
  absl::Status DoWaitReadable(Deadline deadline) override {
    return stream_->WaitReadable(deadline);
  }
  absl::Status DoWrite(absl::string_view data, Deadline deadline) override {
    return stream_->Write(data, deadline);
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) override {
    return stream_->WriteGather(pieces, deadline);
  }

  Stream* stream_;
};

}  // namespace grove::net

#endif  // GROVE_NET_STREAM_REF_H_
