#ifndef GROVE_GREEN_INTERNAL_OWN_SIGACTION_H_
#define GROVE_GREEN_INTERNAL_OWN_SIGACTION_H_

#include <dlfcn.h>
#include <signal.h>

namespace grove::green_internal {

// OwnSigaction()
//
// sigaction(2) for grove's own handlers, on any thread: looked up by name, it is what
// nobody has patched. A handler of grove's is not one of the program's, which end calls.
inline int OwnSigaction(int signum, const struct sigaction* action,
                        struct sigaction* before) {
  static auto* const found =
      reinterpret_cast<decltype(&sigaction)>(dlsym(RTLD_DEFAULT, "sigaction"));
  return found(signum, action, before);
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_OWN_SIGACTION_H_
