#ifndef GROVE_GREEN_OS_FILE_INFO_H_
#define GROVE_GREEN_OS_FILE_INFO_H_

#include <sys/types.h>

#include <cstdint>

#include "absl/time/time.h"

struct stat;

namespace grove {

// What is there under a name.
enum class FileKind { kRegular, kDirectory, kSymlink, kFifo, kSocket, kDevice };

// FileInfo
//
// What stat(2) says.
//
//   absl::StatusOr<FileInfo> info = GetFileInfo("/srv/www");   // file_system.h
//   if (info.ok() && info->kind == FileKind::kDirectory) ...
struct FileInfo {
  FileKind kind = FileKind::kRegular;
  uint64_t size = 0;       // in bytes
  mode_t permissions = 0;  // such as 0644
  absl::Time modified;     // when its content was changed last
  uid_t owner = 0;
  gid_t group = 0;
  // Two names of the same file have the same of both.
  uint64_t device = 0;
  uint64_t inode = 0;
};

namespace green_internal {

FileKind KindOf(mode_t mode);
FileInfo InfoOf(const struct stat& st);

}  // namespace green_internal
}  // namespace grove

#endif  // GROVE_GREEN_OS_FILE_INFO_H_
