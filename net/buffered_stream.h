#ifndef GROVE_NET_BUFFERED_STREAM_H_
#define GROVE_NET_BUFFERED_STREAM_H_

#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/stream.h"

// Small reads and writes by few large ones, over any Stream, with bounds on what is held.
// (Of files and pipes: green/os/buffered.h.)
//
//   StreamReader reader(stream);
//   StreamWriter writer(stream);
//   for (;;) {
//     absl::StatusOr<std::optional<absl::string_view>> line = reader.ReadLine(8192);
//     if (!line.ok() || !line->has_value()) return line.status();
//     if (absl::Status s = writer.Write(Answer(**line)); !s.ok()) return s;
//     if (reader.buffered().empty()) {     // nobody has asked more meanwhile
//       if (absl::Status s = writer.Flush(); !s.ok()) return s;
//     }
//   }
//
// What Stream promises of blocking, deadlines, kills and threads holds here too. The
// stream has to outlive them, and stay where it is. One may read while another writes.
namespace grove::net {

// StreamReader
//
// Reads ahead what is there, so the stream should not be read beside it. A reader that
// waits with nothing read ahead holds no buffer: idle connections cost nothing.
//
// Views are good until the next call. A kill or a deadline loses nothing: what was read
// is still there for the next call.
class StreamReader {
 public:
  static constexpr size_t kDefaultLimit = 64 << 10;

  // It never holds more than `limit` bytes, and reads no more ahead; zero is a fatal
  // error. A smaller buffer is taken first, and grows.
  explicit StreamReader(Stream& stream, size_t limit = kDefaultLimit);
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  // StreamReader::buffered(), StreamReader::Consume()
  //
  // What was read and not taken, where it lies; and takes the first `n` bytes of it, at
  // most all. Do not block.
  absl::string_view buffered() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void Consume(size_t n);

  // StreamReader::Peek()
  //
  // Waits until at least `n` bytes are there, and returns all that are, without taking
  // them. kOutOfRange if the end comes first, kResourceExhausted if `n` is over the
  // reader's limit.
  absl::StatusOr<absl::string_view> Peek(size_t n, Deadline deadline = {});

  // StreamReader::ReadMore()
  //
  // Waits for at least one byte more than there are, and returns all. The same view as
  // before is the end. kResourceExhausted if the limit is reached.
  absl::StatusOr<absl::string_view> ReadMore(Deadline deadline = {});

  // StreamReader::Read(), StreamReader::ReadExactly(), StreamReader::ReadByte()
  //
  // As Stream's; ReadByte() returns nothing at the end.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer, Deadline deadline = {});
  absl::Status ReadExactly(absl::Span<char> buffer, Deadline deadline = {});
  absl::StatusOr<std::optional<char>> ReadByte(Deadline deadline = {});

  // StreamReader::ReadUntil()
  //
  // All up to and with `delimiter`, which is not empty. kOutOfRange if the end comes
  // first, kResourceExhausted if it is not within the first `limit` bytes, nor within the
  // reader's limit; what was read is still there.
  absl::StatusOr<absl::string_view> ReadUntil(
      absl::string_view delimiter, size_t limit = std::numeric_limits<size_t>::max(),
      Deadline deadline = {});

  // StreamReader::ReadLine()
  //
  // The next line, without its "\n" or "\r\n"; nothing at the end. A last line that lacks
  // its end is kOutOfRange, since nobody knows whether it is whole. Limits as above, the
  // line's end not counted.
  absl::StatusOr<std::optional<absl::string_view>> ReadLine(
      size_t limit = std::numeric_limits<size_t>::max(), Deadline deadline = {});

  // StreamReader::Discard()
  //
  // Reads `n` bytes and forgets them. kOutOfRange if the end comes first.
  absl::Status Discard(size_t n, Deadline deadline = {});

 private:
  // With the stream's own timeout, once for all reads of a call.
  Deadline Earlier(Deadline deadline) const;
  absl::StatusOr<bool> Fill(Deadline deadline);  // false at the end
  void MakeRoom();
  absl::Status EndedEarly(absl::string_view wanted) const;
  absl::Status TooLong(absl::string_view what, size_t limit) const;

  Stream& stream_;
  const size_t limit_;
  // What is read and not taken lies from begin_ to end_.
  std::unique_ptr<char[]> buffer_;
  size_t size_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// StreamWriter
//
// Collects what is written, and writes it when there is as much as its high watermark, or
// by Flush(). It never holds more than that.
//
// An error stays: after it Write() and Flush() return it again, for what came behind a
// gap would be worse than nothing. Only a deadline of Flush() does not, nor one of a
// Write() that has not taken its data: both can be tried again. A kill in the midst of a
// write leaves kAborted.
class StreamWriter {
 public:
  static constexpr size_t kDefaultHighWatermark = 64 << 10;

  explicit StreamWriter(Stream& stream, size_t high_watermark = kDefaultHighWatermark);
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;
  // What was not flushed goes out as far as that needs no waiting. If something is left,
  // a line on stderr says how much was lost: Flush() before, or Drop().
  ~StreamWriter();

  // StreamWriter::Write()
  //
  // Takes all of `data`. OK says that it was taken, not that it was written; Flush() says
  // that. What is larger than the watermark goes out at once, without a copy.
  //
  // Blocks: while the peer does not read, once the watermark is reached.
  absl::Status Write(absl::string_view data, Deadline deadline = {});

  // StreamWriter::TryWrite()
  //
  // Takes all of `data` without blocking: kResourceExhausted, and nothing was taken, if
  // there is no room for it even after what goes out without waiting.
  absl::Status TryWrite(absl::string_view data);

  // StreamWriter::Flush()
  //
  // Hands all that was taken to the stream. Blocks: until it has gone out.
  absl::Status Flush(Deadline deadline = {});

  // Forgets what was taken and not written.
  void Drop() { buffer_.clear(); }
  size_t buffered() const { return buffer_.size(); }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status WriteThrough(absl::string_view data, Deadline deadline);
  void PushWithoutWaiting();

  Stream& stream_;
  const size_t high_watermark_;
  std::string buffer_;
  absl::Status status_;
};

}  // namespace grove::net

#endif  // GROVE_NET_BUFFERED_STREAM_H_
