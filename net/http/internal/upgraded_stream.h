#ifndef GROVE_NET_HTTP_INTERNAL_UPGRADED_STREAM_H_
#define GROVE_NET_HTTP_INTERNAL_UPGRADED_STREAM_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "grove/net/stream.h"

namespace grove::http::http_internal {

// UpgradedStream
//
// A connection that speaks another protocol than HTTP from now on: the stream, and before
// it what was read from it already.
class UpgradedStream final : public net::Stream {
 public:
  UpgradedStream(net::Stream* stream, absl::string_view read_ahead,
                 std::function<void()> on_drain)
      : stream_(*stream), ahead_(read_ahead), on_drain_(std::move(on_drain)) {}
  UpgradedStream(const UpgradedStream&) = delete;
  UpgradedStream& operator=(const UpgradedStream&) = delete;

  // Tells who uses it that the server comes to its end. Does not block.
  void Drain();

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override;
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override {
    return stream_.TryWrite(data);
  }
  bool has_unsent() const override { return stream_.has_unsent(); }
  absl::Status ShutdownWrite() override { return stream_.ShutdownWrite(); }
  absl::Status ShutdownRead() override { return stream_.ShutdownRead(); }
  void Close() override { stream_.Close(); }
  void Abort() override { stream_.Abort(); }
  bool closed() const override { return stream_.closed(); }
  std::string Describe() const override { return stream_.Describe(); }
  Activity activity() const override { return stream_.activity(); }

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) override;
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                       Deadline deadline) override;
  absl::Status DoWaitReadable(Deadline deadline) override;
  absl::Status DoWrite(absl::string_view data, Deadline deadline) override {
    return stream_.Write(data, deadline);
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) override {
    return stream_.WriteGather(pieces, deadline);
  }
  // What there is ahead, as far as it fits.
  size_t TakeAhead(absl::Span<char> buffer);

  net::Stream& stream_;
  std::string ahead_;
  size_t taken_ = 0;  // of it
  std::function<void()> on_drain_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_UPGRADED_STREAM_H_
