#ifndef GROVE_GREEN_OS_FILE_SYSTEM_H_
#define GROVE_GREEN_OS_FILE_SYSTEM_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/green/os/file_info.h"

// Whole files, names and folders. Each call is one call on a thread of the pool "files".
//
//   absl::StatusOr<std::string> config = ReadFile("/etc/app.conf");
//   absl::Status s = ReplaceFile("/var/lib/app/state", Encode(state));
//
// For all that follow:
//   Blocks: until a thread has done it.
//   Deadline: none of its own; a Timeout scope ends the wait for a thread.
//   Kill: throws if it has not begun. What has begun is done to its end, and waited for.
//   Threads: any.
//   Errors name the operation and the file: "open '/a/b': No such file or directory".
// What is read or written should be a file: a FIFO or a terminal keeps a thread of the
// pool for as long as it lets one wait.
namespace grove {

// ReadFile()
//
// All that is in it; also where its size is not known before, as below /proc.
// kResourceExhausted if that is more than `limit` bytes.
absl::StatusOr<std::string> ReadFile(std::string path,
                                     size_t limit = std::numeric_limits<size_t>::max());

// WriteFile(), AppendFile()
//
// Make the file if need be; WriteFile() empties it first. Who reads it meanwhile sees a
// part, and after an error a part is what is left: BytesMoved() says how much was
// written. ReplaceFile() has neither.
absl::Status WriteFile(std::string path, absl::string_view data,
                       mode_t permissions = 0666);
absl::Status AppendFile(std::string path, absl::string_view data,
                        mode_t permissions = 0666);

// ReplaceOptions
struct ReplaceOptions {
  // Those of a file that was not there before, less the process's umask.
  mode_t permissions = 0666;
  // Whether the data are on the disk before the name is theirs, and the name before the
  // call returns. Without, it is as atomic for other processes, but a machine that loses
  // power may come back with an empty file.
  bool sync = true;
};

// ReplaceFile()
//
// Puts `data` in place of what is there, in one step: whoever opens the file, at any
// moment, finds all of the old content or all of the new. It is written beside it under
// another name (".grove-" and 16 digits) in the same folder, and renamed; a failure
// leaves nothing behind but what was there (one exception: if only the folder cannot be
// synced in the end, the new content is in place). Permissions are kept, and so are owner
// and group where this process may set them. A symbolic link stays, and what it names is
// replaced; other hard links keep the old content.
absl::Status ReplaceFile(std::string path, absl::string_view data,
                         ReplaceOptions options = {});

// GetFileInfo(), GetLinkInfo()
//
// What is there; kNotFound if nothing is. The second one of a symbolic link itself.
absl::StatusOr<FileInfo> GetFileInfo(std::string path);
absl::StatusOr<FileInfo> GetLinkInfo(std::string path);

// DirectoryEntry
struct DirectoryEntry {
  std::string name;
  FileKind kind;  // of the entry itself, symbolic link or not
};

// ListDirectory()
//
// All entries but "." and "..", sorted by name, byte by byte. Taken together, so that it
// needs memory for all of them.
absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(std::string path);

// MakeDirectories()
//
// The folder and those above it, as far as they are not there.
absl::Status MakeDirectories(std::string path);

// RenameFile()
//
// Within a file system, in one step. What was at `to`, a file or an empty folder, is
// gone.
absl::Status RenameFile(std::string from, std::string to);

// RemoveFile(), RemoveDirectory(), RemoveTree()
//
// A file or other entry that is no folder; an empty folder; a folder and all below it, or
// a file. RemoveTree() returns how many entries it removed: none if there is no such
// path.
absl::Status RemoveFile(std::string path);
absl::Status RemoveDirectory(std::string path);
absl::StatusOr<uint64_t> RemoveTree(std::string path);

}  // namespace grove

#endif  // GROVE_GREEN_OS_FILE_SYSTEM_H_
