#ifndef GROVE_GREEN_OS_INTERNAL_SPAWN_PROCESS_H_
#define GROVE_GREEN_OS_INTERNAL_SPAWN_PROCESS_H_

#include <sys/types.h>

#include <cstddef>

namespace grove::green_internal {

// SpawnRequest
//
// What a new process is to be, in terms of system calls. All pointers are looked at by
// the child, and stay valid during the call.
struct SpawnRequest {
  // Paths that are tried in turn, as execvp(3) does; null-terminated.
  const char* const* paths = nullptr;
  const char* const* argv = nullptr;
  const char* const* envp = nullptr;
  const char* cwd = nullptr;
  // What the child's descriptors 0, 1 and 2 are; kKeep: as the parent's.
  static constexpr int kKeep = -1;
  int stdio[3] = {kKeep, kKeep, kKeep};
  bool stderr_to_stdout = false;
  const int* pass_fds = nullptr;
  size_t pass_fds_count = 0;
  bool close_others = true;
  bool new_session = false;
  bool set_process_group = false;
  pid_t process_group = 0;
  bool restore_signals = true;
  bool set_umask = false;
  mode_t umask = 0;
  bool set_user = false, set_group = false, set_groups = false;
  uid_t user = 0;
  gid_t group = 0;
  const gid_t* groups = nullptr;
  size_t groups_count = 0;
};

// What could not be done.
enum class SpawnStage {
  kNone,
  kClone,
  kSession,
  kProcessGroup,
  kDirectory,
  kStdio,
  kPassFd,
  kGroups,
  kGroup,
  kUser,
  kExec,
};

struct SpawnOutcome {
  pid_t pid = -1;
  int pidfd = -1;
  SpawnStage failed = SpawnStage::kNone;
  int error = 0;
  // The path that could not be executed, or the descriptor that is not open.
  size_t which = 0;
};

// SpawnProcess()
//
// Starts a process. The child shares this process's memory, and the calling thread stands
// still, until it has become the new program or could not: so a large process starts
// children as fast as a small one, and the child says what failed by writing it down.
// Only if it is to become another user it has a copy of the memory, since nobody else's
// process should share ours.
//
// A child that failed has been reaped.
SpawnOutcome SpawnProcess(const SpawnRequest& request);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_SPAWN_PROCESS_H_
