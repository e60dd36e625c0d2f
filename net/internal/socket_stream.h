#ifndef GROVE_NET_INTERNAL_SOCKET_STREAM_H_
#define GROVE_NET_INTERNAL_SOCKET_STREAM_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

namespace grove::net::net_internal {

// SocketStream
//
// A Stream over a connected stream socket, of any family.
class SocketStream : public Stream {
 public:
  // Release()
  //
  // Gives the socket up, open and non-blocking. -1 if closed.
  int Release() { return descriptor_.Release(); }
  int fd() const { return descriptor_.fd(); }

  // SendFrom()
  //
  // For SendFile() (send_file.h): at most `count` bytes by one sendfile(2), once the
  // socket takes any; 0 if the file ends at `offset`. Contract as Write().
  absl::StatusOr<size_t> SendFrom(int file, uint64_t offset, size_t count,
                                  Deadline deadline);

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) final;
  absl::StatusOr<size_t> TryWrite(absl::string_view data) final;
  absl::Status ShutdownWrite() final;
  absl::Status ShutdownRead() final;
  void Close() final { descriptor_.Close(); }
  bool closed() const final { return !descriptor_.valid(); }
  Activity activity() const final {
    return {bytes_read_, bytes_written_, descriptor_.reader_waits(),
            descriptor_.writer_waits()};
  }

 protected:
  SocketStream() = default;
  explicit SocketStream(int fd) : descriptor_(fd) {}
  SocketStream(SocketStream&&) = default;
  SocketStream& operator=(SocketStream&&) = default;
  ~SocketStream() override = default;

  Descriptor& descriptor() { return descriptor_; }
  // For reads and writes that go beside those of here: see activity().
  void CountRead(size_t n) { bytes_read_ += n; }
  void CountWritten(size_t n) { bytes_written_ += n; }

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) final;
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                       Deadline deadline) final;
  absl::Status DoWaitReadable(Deadline deadline) final;
  bool HasArrived() const;
  absl::Status DoWrite(absl::string_view data, Deadline deadline) final;
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) final;
  template <typename Receive>
  ssize_t ReceiveOnce(Receive receive, size_t wanted);
  template <typename Receive>
  absl::StatusOr<size_t> ReadWith(Receive receive, size_t wanted, Deadline deadline);

  Descriptor descriptor_;
  uint64_t bytes_read_ = 0;
  uint64_t bytes_written_ = 0;
  // The last read took all there was: to try again before waiting would be in vain.
  bool read_waits_first_ = false;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_SOCKET_STREAM_H_
