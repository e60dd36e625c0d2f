#include "grove/net/send_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/read_piece.h"
#include "grove/net/internal/socket_stream.h"

namespace grove::net {
namespace {

constexpr uint64_t kPiece = uint64_t{256} << 10;

// Whether a byte can be read without waiting for a disk; also where the file has ended.
bool Cached(int fd, uint64_t offset) {
  char byte;
  const iovec v{&byte, 1};
  return preadv2(fd, &v, 1, static_cast<off_t>(offset), RWF_NOWAIT) >= 0;
}

class FileSender {
 public:
  FileSender(Stream& to, int file, std::string name)
      : to_(to),
        socket_(dynamic_cast<net_internal::SocketStream*>(&to)),
        file_(file),
        name_(std::move(name)) {}
  FileSender(const FileSender&) = delete;
  FileSender& operator=(const FileSender&) = delete;
  ~FileSender() { close(file_); }

  absl::StatusOr<uint64_t> Send(uint64_t offset, uint64_t count, Deadline deadline) {
    uint64_t done = 0;
    while (done < count) {
      const uint64_t wanted = std::min(count - done, kPiece);
      const absl::StatusOr<size_t> n = SendPiece(offset + done, wanted, deadline);
      if (!n.ok()) return WithBytesMoved(n.status(), done + BytesMoved(n.status()));
      if (*n == 0) break;
      done += *n;
    }
    return done;
  }

 private:
  // At least a byte, unless the file has ended.
  absl::StatusOr<size_t> SendPiece(uint64_t offset, uint64_t wanted, Deadline deadline) {
    if (socket_ != nullptr) {
      if (offset + wanted > cached_to_ && Cached(file_, offset) &&
          Cached(file_, offset + wanted - 1)) {
        cached_to_ = offset + wanted;
      }
      if (offset < cached_to_) {
        absl::StatusOr<size_t> n = socket_->SendFrom(
            file_, offset, std::min(wanted, cached_to_ - offset), deadline);
        // EINVAL: a file that sendfile(2) cannot take.
        if (n.ok() || ErrnoOf(n.status()) != EINVAL) return n;
        socket_ = nullptr;
      }
    }
    return ReadAndWrite(offset, wanted, deadline);
  }

  absl::StatusOr<size_t> ReadAndWrite(uint64_t offset, uint64_t wanted,
                                      Deadline deadline) {
    if (!buffer_) buffer_.reset(new char[kPiece]);
    const absl::StatusOr<size_t> n = net_internal::ReadPiece(
        file_, offset, {buffer_.get(), static_cast<size_t>(wanted)}, name_, deadline);
    if (!n.ok()) return n.status();
    if (absl::Status s = to_.Write({buffer_.get(), *n}, deadline); !s.ok()) return s;
    return n;
  }

  Stream& to_;
  net_internal::SocketStream* socket_;
  const int file_;
  const std::string name_;
  uint64_t cached_to_ = 0;
  std::unique_ptr<char[]> buffer_;
};

absl::StatusOr<uint64_t> Send(Stream& to, int fd, std::string name, uint64_t offset,
                              uint64_t count, Deadline deadline) {
  constexpr uint64_t kLast = std::numeric_limits<off_t>::max();
  if (offset > kLast) {
    return absl::InvalidArgumentError(
        absl::StrCat("send ", name, ": no file has an offset ", offset));
  }
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return ErrnoStatus(errno, absl::StrCat("send ", name));
  FileSender sender(to, own, std::move(name));
  return sender.Send(offset, std::min(count, kLast - offset), deadline);
}

}  // namespace

absl::StatusOr<uint64_t> SendFile(Stream& to, int fd, uint64_t offset, uint64_t count,
                                  Deadline deadline) {
  return Send(to, fd, absl::StrCat("fd ", fd), offset, count, deadline);
}

absl::StatusOr<uint64_t> SendFile(Stream& to, const File& file, uint64_t offset,
                                  uint64_t count, Deadline deadline) {
  if (file.closed()) {
    return absl::CancelledError(
        absl::StrCat("send '", file.path(), "': the file is closed"));
  }
  return Send(to, file.fd(), absl::StrCat("'", file.path(), "'"), offset, count,
              deadline);
}

}  // namespace grove::net
