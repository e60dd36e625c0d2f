#include "grove/green/os/internal/file_snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace grove::green_internal {
namespace {

bool IsNotThere(int error) { return error == ENOENT || error == ENOTDIR; }

// Zero also if it is not there.
int Add(FileSnapshot& snapshot, std::string path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0 && lstat(path.c_str(), &st) != 0) {
    return IsNotThere(errno) ? 0 : errno;
  }
  snapshot.emplace(std::move(path), InfoOf(st));
  return 0;
}

}  // namespace

std::variant<FileSnapshot, int> TakeSnapshot(const std::string& path, bool folder) {
  FileSnapshot snapshot;
  if (!folder) {
    if (const int error = Add(snapshot, path)) return error;
    return snapshot;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), &closedir);
  if (dir == nullptr) {
    if (IsNotThere(errno)) return snapshot;
    return errno;
  }
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr && errno != 0) return errno;
    if (entry == nullptr) return snapshot;
    const absl::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (const int error = Add(snapshot, absl::StrCat(path, "/", name))) return error;
  }
}

void Compare(const FileSnapshot& before, const FileSnapshot& now,
             absl::FunctionRef<void(const std::string& path, FileChange change)> tell) {
  for (const auto& [path, info] : before) {
    if (now.count(path) == 0) tell(path, FileChange::kRemoved);
  }
  for (const auto& [path, info] : now) {
    const auto it = before.find(path);
    if (it == before.end()) {
      tell(path, FileChange::kCreated);
      continue;
    }
    const FileInfo& old = it->second;
    if (info.inode != old.inode || info.device != old.device) {
      tell(path, FileChange::kMovedHere);
    } else if (info.size != old.size || info.modified != old.modified) {
      tell(path, FileChange::kModified);
    } else if (info.permissions != old.permissions || info.owner != old.owner ||
               info.group != old.group) {
      tell(path, FileChange::kAttributes);
    }
  }
}

}  // namespace grove::green_internal
