#ifndef GROVE_PATCH_ADAPTERS_TRACED_CALLS_H_
#define GROVE_PATCH_ADAPTERS_TRACED_CALLS_H_

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grove::patch {

// TracedCalls
//
// Judges what strace(1) wrote of one thread, a hub's: whether a system call of it could
// have blocked it, by what the call was and not by how long it took. One that can is
// fine
//
// - if it said that it will not wait: MSG_DONTWAIT, RWF_NOWAIT, WNOHANG, no time to wait;
// - of a descriptor that was non-blocking at that moment;
// - of a descriptor that the call before has told to be ready, where calls that are for
//   memory, or ask about a file, do not count;
// - of a file that was opened by its name: the disk's time is nobody's to say;
// - as the loop's own wait: of one epoll descriptor, always the same.
//
// No sleep, no wait for a futex, a signal, a child or a lock of a file is. One exception:
// once the thread has started others (name lookups are made on such), it may have to
// wait for a plain lock that one of these holds for some instructions, such as malloc's.
//
// What the program itself writes to stdout and stderr is not looked at, nor vfork, whose
// parent stops until the child is another program.
class TracedCalls {
 public:
  // A line of strace's. Those before PatchAll() are not judged, if `from_patch_all`.
  explicit TracedCalls(bool from_patch_all) : judging_(!from_patch_all) {}
  void Add(absl::string_view line);

  // The lines with calls that could have blocked.
  const std::vector<std::string>& blocking() const { return blocking_; }
  // How many lines were judged; and of how many a thread would have had to wait.
  size_t judged() const { return judged_; }
  size_t would_have_blocked() const { return would_have_blocked_; }

 private:
  struct Call {
    absl::string_view name, arguments, result;
    int fd = -1;        // the first argument, if it is a number
    int returned = -1;  // if it is a number
  };
  bool CouldBlock(const Call& call);
  void Follow(const Call& call);

  bool judging_;
  size_t judged_ = 0;
  size_t would_have_blocked_ = 0;
  bool has_threads_ = false;
  int loop_ = -1;              // the epoll descriptor
  int ready_ = -1;             // what the call before told
  std::map<int, bool> waits_;  // by descriptor: whether it is blocking
  std::set<int> files_;
  std::vector<std::string> blocking_;
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_ADAPTERS_TRACED_CALLS_H_
