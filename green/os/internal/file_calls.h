#ifndef GROVE_GREEN_OS_INTERNAL_FILE_CALLS_H_
#define GROVE_GREEN_OS_INTERNAL_FILE_CALLS_H_

#include <errno.h>

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// System calls on files, gone on with after signals and short counts. For threads of the
// files pool: they block.
namespace grove::green_internal {

// How much was done, and what stopped it: 0 if nothing did.
struct Moved {
  size_t bytes = 0;
  int error = 0;
};

// One read at the file's position.
Moved ReadSome(int fd, absl::Span<char> buffer);
// Until the buffer is full or the file ends.
Moved ReadAllAt(int fd, absl::Span<char> buffer, uint64_t offset);
// All of it, or an error.
Moved WriteAll(int fd, absl::string_view data);
Moved WriteAllAt(int fd, absl::string_view data, uint64_t offset);

// The error of a call that returns 0 or -1 with errno; again after EINTR.
template <typename Call>
int ErrorOf(Call call) {
  while (call() < 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_FILE_CALLS_H_
