#include "grove/green/os/file_info.h"

#include <sys/stat.h>

namespace grove::green_internal {

FileKind KindOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileKind::kDirectory;
    case S_IFLNK:
      return FileKind::kSymlink;
    case S_IFIFO:
      return FileKind::kFifo;
    case S_IFSOCK:
      return FileKind::kSocket;
    case S_IFCHR:
    case S_IFBLK:
      return FileKind::kDevice;
    default:
      return FileKind::kRegular;
  }
}

FileInfo InfoOf(const struct stat& st) {
  return {.kind = KindOf(st.st_mode),
          .size = static_cast<uint64_t>(st.st_size),
          .permissions = st.st_mode & 07777,
          .modified = absl::TimeFromTimespec(st.st_mtim),
          .owner = st.st_uid,
          .group = st.st_gid,
          .device = st.st_dev,
          .inode = st.st_ino};
}

}  // namespace grove::green_internal
