#include "grove/green/os/file_system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/os/internal/file_calls.h"
#include "grove/green/os/internal/files_pool.h"
#include "grove/green/status.h"

// Everything in the unnamed namespace runs on a thread of the pool, and blocks it.
namespace grove {
namespace {

using green_internal::ErrorOf;
using green_internal::Moved;
using green_internal::OnFilesPool;

absl::Status Failed(int error, absl::string_view operation, const std::string& path) {
  return ErrnoStatus(error, absl::StrCat(operation, " '", path, "'"));
}

absl::Status StatusOf(int error, absl::string_view operation, const std::string& path) {
  return error == 0 ? absl::OkStatus() : Failed(error, operation, path);
}

// An open descriptor that closes itself.
class OpenFd {
 public:
  OpenFd(const std::string& path, int flags, mode_t permissions = 0) {
    error_ =
        ErrorOf([&] { return fd_ = open(path.c_str(), flags | O_CLOEXEC, permissions); });
  }
  OpenFd(const OpenFd&) = delete;
  OpenFd& operator=(const OpenFd&) = delete;
  ~OpenFd() { Close(); }

  int fd() const { return fd_; }
  int error() const { return error_; }
  // What close(2) says; after EINTR the descriptor is gone as well.
  int Close() {
    if (fd_ < 0) return 0;
    return close(std::exchange(fd_, -1)) < 0 && errno != EINTR ? errno : 0;
  }

 private:
  int fd_ = -1;
  int error_ = 0;
};

// --- whole files ---------------------------------------------------------------------

absl::StatusOr<std::string> ReadFileHere(const std::string& path, size_t limit) {
  OpenFd file(path, O_RDONLY);
  if (file.fd() < 0) return Failed(file.error(), "open", path);
  struct stat st;
  if (fstat(file.fd(), &st) < 0) return Failed(errno, "stat", path);
  std::string data;
  // A byte more than there should be shows the end at once. Files that are made as they
  // are read say that they are empty, and those below /proc/sys are to be read at one go.
  constexpr size_t kUnknown = 4096;
  size_t room = st.st_size > 0 ? static_cast<size_t>(st.st_size) + 1 : kUnknown;
  for (;;) {
    const size_t before = data.size();
    const size_t wanted = std::min(room - 1, limit - before) + 1;
    data.resize(before + wanted);
    const Moved moved =
        green_internal::ReadSome(file.fd(), absl::MakeSpan(&data[before], wanted));
    data.resize(before + moved.bytes);
    if (moved.error != 0) {
      return WithBytesMoved(Failed(moved.error, "read from", path), before);
    }
    if (moved.bytes == 0) return data;
    if (data.size() > limit) {
      return absl::ResourceExhaustedError(
          absl::StrCat("read from '", path, "': it has more than ", limit, " bytes"));
    }
    room = std::max(kUnknown, data.size());
  }
}

absl::Status WriteFileHere(const std::string& path, absl::string_view data, int flags,
                           mode_t permissions) {
  OpenFd file(path, O_WRONLY | O_CREAT | flags, permissions);
  if (file.fd() < 0) return Failed(file.error(), "open", path);
  const Moved moved = green_internal::WriteAll(file.fd(), data);
  if (moved.error != 0) {
    return WithBytesMoved(Failed(moved.error, "write to", path), moved.bytes);
  }
  return StatusOf(file.Close(), "close", path);
}

// --- ReplaceFile ---------------------------------------------------------------------

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string NewName(const std::string& folder) {
  uint64_t random;
  // Does not fail for so few bytes, but before the machine has any randomness at all.
  while (getrandom(&random, sizeof random, 0) != sizeof random) {
  }
  return absl::StrCat(folder, "/.grove-", absl::Hex(random, absl::kZeroPad16));
}

// What `path` names in the end, if it is a symbolic link.
absl::StatusOr<std::string> Resolve(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) < 0 || !S_ISLNK(st.st_mode)) return path;
  const std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr),
                                                    &free);
  if (real == nullptr) return Failed(errno, "follow the link", path);
  return std::string(real.get());
}

// Gives the new file owner and permissions of the old one. Owner first, since a change of
// it takes bits of the permissions away.
int CopyAttributes(const struct stat& from, int fd) {
  if (fchown(fd, from.st_uid, from.st_gid) < 0) {
    // Another's file, in a folder of ours: the group alone may be possible.
    (void)!fchown(fd, static_cast<uid_t>(-1), from.st_gid);
  }
  return ErrorOf([&] { return fchmod(fd, from.st_mode & 07777); });
}

absl::Status FillNewFile(OpenFd& file, const std::string& path, absl::string_view data,
                         const struct stat* old, bool sync) {
  if (old != nullptr) {
    if (const int error = CopyAttributes(*old, file.fd()); error != 0) {
      return Failed(error, "set the permissions of", path);
    }
  }
  const Moved moved = green_internal::WriteAll(file.fd(), data);
  if (moved.error != 0) {
    return WithBytesMoved(Failed(moved.error, "write to", path), moved.bytes);
  }
  if (sync) {
    const int error = ErrorOf([&] { return fsync(file.fd()); });
    if (error != 0) return Failed(error, "sync", path);
  }
  return StatusOf(file.Close(), "close", path);
}

absl::Status SyncFolder(const std::string& folder) {
  OpenFd file(folder, O_RDONLY | O_DIRECTORY);
  if (file.fd() < 0) return Failed(file.error(), "open", folder);
  const int error = ErrorOf([&] { return fsync(file.fd()); });
  // Some file systems have nothing to sync there, and say so.
  return StatusOf(error == EINVAL ? 0 : error, "sync", folder);
}

absl::Status ReplaceFileHere(const std::string& name, absl::string_view data,
                             const ReplaceOptions& options) {
  const absl::StatusOr<std::string> path = Resolve(name);
  if (!path.ok()) return path.status();
  const std::string folder = FolderOf(*path);
  struct stat old;
  const bool exists = stat(path->c_str(), &old) == 0;
  if (!exists && errno != ENOENT) return Failed(errno, "stat", *path);
  if (exists && !S_ISREG(old.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("replace '", *path, "': it is not a regular file"));
  }
  const std::string beside = NewName(folder);
  // What is to be as secret as the old file is so from the start.
  OpenFd file(beside, O_WRONLY | O_CREAT | O_EXCL, exists ? 0600 : options.permissions);
  if (file.fd() < 0) return Failed(file.error(), "create", beside);
  absl::Status status =
      FillNewFile(file, beside, data, exists ? &old : nullptr, options.sync);
  if (status.ok()) {
    status = StatusOf(ErrorOf([&] { return rename(beside.c_str(), path->c_str()); }),
                      absl::StrCat("rename '", beside, "' to"), *path);
  }
  if (!status.ok()) {
    unlink(beside.c_str());
    return status;
  }
  return options.sync ? SyncFolder(folder) : absl::OkStatus();
}

// --- names ---------------------------------------------------------------------------

absl::StatusOr<std::vector<DirectoryEntry>> ListDirectoryHere(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(path.c_str()), &closedir);
  if (dir == nullptr) return Failed(errno, "open", path);
  std::vector<DirectoryEntry> entries;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) return Failed(errno, "list", path);
      break;
    }
    const absl::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    mode_t mode = DTTOIF(entry->d_type);
    if (entry->d_type == DT_UNKNOWN) {  // some file systems do not say
      struct stat st;
      // Removed meanwhile: it is not there.
      if (fstatat(dirfd(dir.get()), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        continue;
      mode = st.st_mode;
    }
    entries.push_back({std::string(name), green_internal::KindOf(mode)});
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

absl::StatusOr<FileInfo> InfoHere(const std::string& path,
                                  int (*get)(const char*, struct stat*)) {
  struct stat st;
  const int error = ErrorOf([&] { return get(path.c_str(), &st); });
  if (error != 0) return Failed(error, "stat", path);
  return green_internal::InfoOf(st);
}

absl::Status StatusOf(const std::error_code& error, absl::string_view operation,
                      const std::string& path) {
  return StatusOf(error.value(), operation, path);
}

}  // namespace

absl::StatusOr<std::string> ReadFile(std::string path, size_t limit) {
  return OnFilesPool([&] { return ReadFileHere(path, limit); });
}

absl::Status WriteFile(std::string path, absl::string_view data, mode_t permissions) {
  return OnFilesPool([&] { return WriteFileHere(path, data, O_TRUNC, permissions); });
}

absl::Status AppendFile(std::string path, absl::string_view data, mode_t permissions) {
  return OnFilesPool([&] { return WriteFileHere(path, data, O_APPEND, permissions); });
}

absl::Status ReplaceFile(std::string path, absl::string_view data,
                         ReplaceOptions options) {
  return OnFilesPool([&] { return ReplaceFileHere(path, data, options); });
}

absl::StatusOr<FileInfo> GetFileInfo(std::string path) {
  return OnFilesPool([&] { return InfoHere(path, &stat); });
}

absl::StatusOr<FileInfo> GetLinkInfo(std::string path) {
  return OnFilesPool([&] { return InfoHere(path, &lstat); });
}

absl::StatusOr<std::vector<DirectoryEntry>> ListDirectory(std::string path) {
  return OnFilesPool([&] { return ListDirectoryHere(path); });
}

absl::Status MakeDirectories(std::string path) {
  return OnFilesPool([&] {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    return StatusOf(error, "make the folder", path);
  });
}

absl::Status RenameFile(std::string from, std::string to) {
  return OnFilesPool([&] {
    return StatusOf(ErrorOf([&] { return rename(from.c_str(), to.c_str()); }),
                    absl::StrCat("rename '", from, "' to"), to);
  });
}

absl::Status RemoveFile(std::string path) {
  return OnFilesPool([&] {
    return StatusOf(ErrorOf([&] { return unlink(path.c_str()); }), "remove", path);
  });
}

absl::Status RemoveDirectory(std::string path) {
  return OnFilesPool([&] {
    return StatusOf(ErrorOf([&] { return rmdir(path.c_str()); }), "remove", path);
  });
}

absl::StatusOr<uint64_t> RemoveTree(std::string path) {
  return OnFilesPool([&]() -> absl::StatusOr<uint64_t> {
    std::error_code error;
    const auto removed = std::filesystem::remove_all(path, error);
    if (error) return StatusOf(error, "remove", path);
    return removed;
  });
}

}  // namespace grove
