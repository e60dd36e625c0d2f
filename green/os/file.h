#ifndef GROVE_GREEN_OS_FILE_H_
#define GROVE_GREEN_OS_FILE_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/os/file_info.h"

// Files on disks. The kernel calls them ready whenever one asks, and then takes its time;
// so each call here is one call on a native thread of the pool "files", for which the
// greenlet waits while others run.
//
//   absl::StatusOr<File> file = File::Open("/var/lib/app/state", OpenMode::kReadWrite);
//   if (!file.ok()) return file.status();
//   absl::Status s = file->WriteAt(record, 512 * index);
//   if (s.ok()) s = file->Close();
//
// Whole files, names and folders are in file_system.h, lines in buffered.h, pipes and
// terminals in pipe.h.
namespace grove {

namespace green_internal {
struct Moved;
}

// How a file is opened.
enum class OpenMode {
  kRead,       // what is there
  kReadWrite,  // what is there, to be changed
  kCreate,     // to read and write; made if it is not there
  kTruncate,   // to write; made, or emptied
  kAppend,     // to write at its end, wherever that is then; made if it is not there
  kCreateNew,  // to write; kAlreadyExists if it is there
};

// File
//
// An open file. For all that follow:
//   Blocks: until a thread has done it.
//   Deadline: none of its own; a Timeout scope ends the wait for a thread.
//   Kill: throws if it has not begun. What has begun is waited for, since it uses the
//       caller's buffers; on a device that hangs, so does the greenlet.
//   Threads: the hub of the first use.
//   Errors name the operation and the file: "write to '/a/b': No space left on device".
//
// Any number of greenlets may use one File. What uses its position (Read, Write, Seek)
// goes one after the other, in the order in which it was called; what has a position of
// its own (ReadAt, WriteAt) and the rest run side by side, and who overlaps in them has
// to take care.
//
// For files, and devices that behave like them. What has to wait for somebody (a FIFO, a
// terminal) would keep a thread of the pool; see PipeReader.
class File {
 public:
  // Closed.
  File() = default;
  File(File&&) = default;
  File& operator=(File&& other);
  // Closes, if Close() has not; an error is lost then. Blocks as Close() does, shielded.
  ~File();

  // File::Open()
  //
  // `permissions` are those of a new file, less the process's umask.
  static absl::StatusOr<File> Open(std::string path, OpenMode mode = OpenMode::kRead,
                                   mode_t permissions = 0666);

  // File::Adopt()
  //
  // Takes `fd` over; `name` is for messages. Does not block.
  static File Adopt(int fd, std::string name);

  // File::Read()
  //
  // Reads at the file's position, and moves it: at least one byte and at most the
  // buffer's size; 0 is the end.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer);

  // File::ReadAt()
  //
  // Fills the buffer from `offset` on. Less is read only if the file ends there.
  absl::StatusOr<size_t> ReadAt(absl::Span<char> buffer, uint64_t offset);

  // File::Write(), File::WriteAt()
  //
  // Write all of `data`, at the file's position or at `offset`. A status that is not OK
  // says by BytesMoved() how much was written before. With kAppend both write at the end.
  absl::Status Write(absl::string_view data);
  absl::Status WriteAt(absl::string_view data, uint64_t offset);

  // File::Seek(), File::SeekToEnd(), File::Position()
  //
  // Each returns the position.
  absl::StatusOr<uint64_t> Seek(uint64_t offset);
  absl::StatusOr<uint64_t> SeekToEnd();
  absl::StatusOr<uint64_t> Position();

  // File::Truncate()
  //
  // Makes the file `size` bytes long, with zeros if it was shorter.
  absl::Status Truncate(uint64_t size);

  // File::Sync(), File::SyncData()
  //
  // Return once what was written is on the disk; SyncData() leaves out what is not needed
  // to read it again, such as the time of the change.
  absl::Status Sync();
  absl::Status SyncData();

  absl::StatusOr<FileInfo> Info();
  absl::StatusOr<uint64_t> Size();

  // File::Close()
  //
  // Lets calls under way end, then closes. Calls that come later, or still wait for their
  // turn, are kCancelled and name the file. Says what the kernel says of closing: on
  // network file systems a write may fail as late as here. OK if it is closed.
  absl::Status Close();
  bool closed() const;

  // File::Release()
  //
  // Gives the descriptor up, open; -1 if closed. While calls are under way: a fatal
  // error.
  int Release();

  int fd() const;  // -1 once closed
  // As it was opened; also when it is closed.
  const std::string& path() const;

 private:
  class State;
  explicit File(std::shared_ptr<State> state);
  absl::StatusOr<size_t> Run(const char* operation, bool in_turn,
                             absl::FunctionRef<green_internal::Moved(int fd)> call);
  absl::StatusOr<uint64_t> SeekBy(int64_t offset, int whence);
  void CloseAtEnd();

  std::shared_ptr<State> state_;
};

}  // namespace grove

#endif  // GROVE_GREEN_OS_FILE_H_
