#ifndef GROVE_NET_TESTING_MEMORY_STREAM_H_
#define GROVE_NET_TESTING_MEMORY_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

// A connection without a network, for tests of code that takes a Stream: it never depends
// on the machine, waits on the hub's clock, and goes wrong when it is told to.
namespace grove::net {

// What goes wrong with a connection, for both of its ends.
enum class StreamFault {
  kReset,     // ECONNRESET; what was not read is lost
  kTimedOut,  // ETIMEDOUT, as if the network had gone; what was not read is lost
  kEnd,       // it is cut: readers see a clean end behind what was written; EPIPE
};

// MemoryStreamOptions
struct MemoryStreamOptions {
  // How many bytes may be on their way in each direction, read ones not counted; a writer
  // waits for room. Zero is a fatal error.
  size_t capacity = 64 << 10;
  // What one Read() returns at most, and the size of the pieces that arrive at once.
  size_t max_piece = std::numeric_limits<size_t>::max();
  // With a seed, both are cut at random, into one byte as likely as into thousands, and
  // others may run between two pieces. The same seed cuts in the same way.
  std::optional<uint64_t> seed = {};
  // How long a piece is on its way, on the hub's clock: at random between the two with a
  // seed, else min_delay. Pieces do not overtake one another.
  absl::Duration min_delay = absl::ZeroDuration();
  absl::Duration max_delay = absl::ZeroDuration();
  // What goes wrong, if anything: once so many bytes have been written, those of both
  // directions taken together; and, with a seed, at each read and write by this chance.
  StreamFault fault = StreamFault::kReset;
  std::optional<uint64_t> fault_after = {};
  double fault_chance = 0;
  // The ends call each other "<name>.near" and "<name>.far".
  std::string name = "memory";
};

// MemoryStream
//
// One end of a MemoryStreamPair. See Stream for what reading and writing promise. Ends
// are told apart as the kernel's sockets do it:
// - ShutdownWrite(), or Close() by an end that has read all: the peer reads what was
//   written, then 0. After Close() its writes fail with EPIPE.
// - Close() by an end that was sent something and has not read it, and Abort(): the
//   peer's reads and writes fail with ECONNRESET, and what it has not read is lost.
// - ShutdownRead(): what has arrived can be read, then 0; what the peer writes is
//   dropped.
class MemoryStream final : public Stream {
 public:
  // Closed.
  MemoryStream() = default;
  MemoryStream(MemoryStream&&) = default;
  MemoryStream& operator=(MemoryStream&& other) noexcept;
  // Closes.
  ~MemoryStream() override;

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override;
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override;
  absl::Status ShutdownWrite() override;
  absl::Status ShutdownRead() override;
  void Close() override;
  // By a reset.
  void Abort() override;
  bool closed() const override { return connection_ == nullptr; }
  std::string Describe() const override;
  Activity activity() const override;

  // MemoryStream::FailReads(), MemoryStream::FailWrites()
  //
  // From now on this end's reads or writes return `status`, also those that wait.
  void FailReads(absl::Status status);
  void FailWrites(absl::Status status);

  // What was sent to this end and not read yet, whether it has arrived or not. 0 once
  // closed.
  size_t unread() const;

 private:
  friend class MemoryStreamPair;
  class Connection;
  MemoryStream(std::shared_ptr<Connection> connection, int side);

  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) override;
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                       Deadline deadline) override;
  absl::Status DoWaitReadable(Deadline deadline) override;
  absl::Status DoWrite(absl::string_view data, Deadline deadline) override;
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) override;

  // Also who waits holds it, since Close() may destroy this.
  std::shared_ptr<Connection> connection_;  // null: closed
  int side_ = 0;
};

// MemoryStreamPair
//
// Two ends of a connection, each a Stream.
//
//   GREENLET_TEST(Protocol, SurvivesAResetAtEachByte) {
//     for (uint64_t at = 0; at < 200; ++at) {
//       MemoryStreamPair pair({.fault = StreamFault::kReset, .fault_after = at});
//       const Greenlet<> server = Spawn([&] { Serve(pair.far); });
//       Ask(pair.near).IgnoreError();
//       server.Join();
//     }
//   }
//
// Threads: the hub that made it.
class MemoryStreamPair {
 public:
  explicit MemoryStreamPair(MemoryStreamOptions options = {});

  // MemoryStreamPair::Break()
  //
  // Lets it happen now. No effect if something has gone wrong before, or if both ends are
  // closed. Does not block.
  void Break(StreamFault fault);

  MemoryStream near;
  MemoryStream far;

 private:
  std::weak_ptr<MemoryStream::Connection> connection_;
};

}  // namespace grove::net

#endif  // GROVE_NET_TESTING_MEMORY_STREAM_H_
