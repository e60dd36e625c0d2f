#ifndef GROVE_GREEN_OS_BUFFERED_H_
#define GROVE_GREEN_OS_BUFFERED_H_

#include <cstddef>
#include <iterator>
#include <limits>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// Many small reads or writes by few large ones: of a File each costs a way to another
// thread and back.
//
//   BufferedReader reader(file);
//   for (absl::string_view line : reader.Lines()) Count(line);
//   if (!reader.status().ok()) ...
//
//   BufferedWriter writer(file);
//   for (const Row& row : rows) {
//     if (absl::Status s = writer.Write(Format(row)); !s.ok()) return s;
//   }
//   return writer.Flush();
//
// They work on a File, a PipeReader or PipeWriter, and all that has such a Read() or
// Write(); what these promise of blocking, kills and threads holds here too. What lies
// beneath has to outlive them, and to stay where it is. One greenlet at a time.
namespace grove {

// BufferedReader
//
// Reads ahead, as much as is there and fits into its buffer; so what lies beneath is
// further on than its reader, and should not be read beside it.
class BufferedReader {
 public:
  static constexpr size_t kDefaultSize = 64 << 10;

  template <typename Source>
  explicit BufferedReader(Source& source, size_t buffer_size = kDefaultSize)
      : BufferedReader(
            &source,
            [](void* s, absl::Span<char> buffer) -> absl::StatusOr<size_t> {
              return static_cast<Source*>(s)->Read(buffer);
            },
            buffer_size) {}
  BufferedReader(const BufferedReader&) = delete;
  BufferedReader& operator=(const BufferedReader&) = delete;

  // BufferedReader::Read()
  //
  // At least one byte and at most the buffer's size; 0 is the end. Blocks only if there
  // is nothing in the buffer.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer);

  // BufferedReader::ReadLine()
  //
  // The next line, without its '\n'; nothing at the end. A last line may lack the '\n'. A
  // '\r' before it stays. A line of more than `limit` bytes is kResourceExhausted, and
  // can be read on by Read(). The view is good until the next call.
  absl::StatusOr<std::optional<absl::string_view>> ReadLine(
      size_t limit = std::numeric_limits<size_t>::max());

  // BufferedReader::ReadAll()
  //
  // What is left until the end; kResourceExhausted if that is more than `limit` bytes.
  absl::StatusOr<std::string> ReadAll(size_t limit = std::numeric_limits<size_t>::max());

  // BufferedReader::Lines()
  //
  // The lines as an input range, which ends at the end or at an error; status() says
  // which. Each view is good until the next line is taken.
  class LineIterator;
  struct LineRange;
  LineRange Lines();

  // The last error; OK at the end. Another read tries again.
  const absl::Status& status() const { return status_; }

 private:
  using ReadFunction = absl::StatusOr<size_t> (*)(void* source, absl::Span<char> buffer);
  BufferedReader(void* source, ReadFunction read, size_t buffer_size)
      : source_(source), read_(read), buffer_size_(buffer_size) {}

  // Reads more behind what is there; false at the end.
  absl::StatusOr<bool> Fill();
  absl::string_view Buffered() const {
    return absl::string_view(buffer_).substr(begin_, end_ - begin_);
  }

  void* const source_;
  const ReadFunction read_;
  const size_t buffer_size_;
  // What is read and not taken lies from begin_ to end_. Allocated by the first read.
  std::string buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  absl::Status status_;
};

class BufferedReader::LineIterator {
 public:
  using value_type = absl::string_view;
  using difference_type = std::ptrdiff_t;

  LineIterator() = default;
  explicit LineIterator(BufferedReader* reader) : reader_(reader) { ++*this; }

  absl::string_view operator*() const { return *line_; }
  LineIterator& operator++() {
    absl::StatusOr<std::optional<absl::string_view>> line = reader_->ReadLine();
    line_ = line.ok() ? *line : std::nullopt;
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const LineIterator& it, std::default_sentinel_t) {
    return !it.line_.has_value();
  }

 private:
  BufferedReader* reader_ = nullptr;
  std::optional<absl::string_view> line_;
};

struct BufferedReader::LineRange {
  LineIterator begin() const { return LineIterator(reader); }
  std::default_sentinel_t end() const { return {}; }
  BufferedReader* reader;
};

inline BufferedReader::LineRange BufferedReader::Lines() { return {this}; }

// BufferedWriter
//
// Collects what is written, and writes it when its buffer is full, by Flush(), and when
// it is destroyed.
class BufferedWriter {
 public:
  static constexpr size_t kDefaultSize = 64 << 10;

  template <typename Sink>
  explicit BufferedWriter(Sink& sink, size_t buffer_size = kDefaultSize)
      : BufferedWriter(
            &sink,
            [](void* s, absl::string_view data) -> absl::Status {
              return static_cast<Sink*>(s)->Write(data);
            },
            buffer_size) {}
  BufferedWriter(const BufferedWriter&) = delete;
  BufferedWriter& operator=(const BufferedWriter&) = delete;
  // Flushes, shielded. Nobody can be told of a failure here but by a line on stderr: call
  // Flush() before, and look at what it says.
  ~BufferedWriter();

  // BufferedWriter::Write()
  //
  // Takes all of `data`. OK says that it has been taken, not that it has been written;
  // Flush() says that. Does not block unless the buffer is full.
  //
  // An error stays: after it, Write() and Flush() return it again, and nothing more is
  // written, for what came behind a gap would be worse than nothing. A kill or a Timeout
  // in the middle of a write leaves kAborted.
  absl::Status Write(absl::string_view data);

  // BufferedWriter::Flush()
  //
  // Hands all that was taken to what lies beneath. For a File that is the kernel; see
  // File::Sync().
  absl::Status Flush();

  // How much was taken and not written.
  size_t buffered() const { return buffer_.size(); }

 private:
  using WriteFunction = absl::Status (*)(void* sink, absl::string_view data);
  BufferedWriter(void* sink, WriteFunction write, size_t buffer_size)
      : sink_(sink), write_(write), buffer_size_(buffer_size) {}
  absl::Status Hand(absl::string_view data);

  void* const sink_;
  const WriteFunction write_;
  const size_t buffer_size_;
  std::string buffer_;
  absl::Status status_;
};

}  // namespace grove

#endif  // GROVE_GREEN_OS_BUFFERED_H_
