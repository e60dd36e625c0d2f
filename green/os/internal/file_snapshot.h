#ifndef GROVE_GREEN_OS_INTERNAL_FILE_SNAPSHOT_H_
#define GROVE_GREEN_OS_INTERNAL_FILE_SNAPSHOT_H_

#include <map>
#include <string>
#include <variant>

#include "absl/functional/function_ref.h"
#include "grove/green/os/file_info.h"
#include "grove/green/os/file_watcher.h"

// Watching by looking again.
namespace grove::green_internal {

// What is there, by path: one file, or all that is in a folder.
using FileSnapshot = std::map<std::string, FileInfo>;

// Looks at a file, which may not be there, or at all entries of a folder. An errno if
// that cannot be seen: then nobody knows what has changed. Blocks the thread.
std::variant<FileSnapshot, int> TakeSnapshot(const std::string& path, bool folder);

// Calls `tell` for each difference.
void Compare(const FileSnapshot& before, const FileSnapshot& now,
             absl::FunctionRef<void(const std::string& path, FileChange change)> tell);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_FILE_SNAPSHOT_H_
