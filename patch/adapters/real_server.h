#ifndef GROVE_PATCH_ADAPTERS_REAL_SERVER_H_
#define GROVE_PATCH_ADAPTERS_REAL_SERVER_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/subprocess.h"

namespace grove::patch {

// A port of the loopback that nobody listens at just now.
int FreePort();

// A folder of this test's own, empty.
std::string EmptyFolder(absl::string_view name);

// As whom a program runs that refuses to be root's: the beginning of its command. That is
// `user`, seen from inside of a user namespace, if this test is root's.
std::vector<std::string> NotAsRoot(absl::string_view user);

// RealServer
//
// A server of the distribution's, from the moment on at which it says that it is ready,
// to the end of this. That it cannot be started fails the test, with what it said.
class RealServer {
 public:
  // `ready` is a part of the line that it prints then, on stdout or stderr.
  RealServer(std::vector<std::string> command, absl::string_view ready);
  ~RealServer();

  bool ready() const { return ready_; }

 private:
  absl::StatusOr<Subprocess> process_;
  Greenlet<> drain_;  // what it says later
  bool ready_ = false;
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_ADAPTERS_REAL_SERVER_H_
