#ifndef GROVE_PATCH_MODULE_H_
#define GROVE_PATCH_MODULE_H_

#include <cstdint>

namespace grove::patch {

// What can be patched: families of calls. docs/patching.md lists each one's calls.
//
//   if (patch::IsModulePatched(Module::kSocket)) ...
enum class Module : uint8_t {
  kOs,          // fork, locks of files, queues between processes, fsync
  kThread,      // threads, their locks and keys: pthreads, and futexes by syscall()
  kTime,        // sleep, nanosleep, ...
  kSocket,      // connect, accept, recv, send, and read, write and close of descriptors
  kDns,         // getaddrinfo, gethostbyname, ...
  kSelect,      // poll, select, epoll_wait
  kSubprocess,  // waitpid, system, ...
  kSignal,      // sigaction, signal, pause, sigwait, ...
  kStdio,       // fread, fgets, scanf, fwrite, printf, ... of pipes, sockets, terminals
  kUser,        // PatchModule()
};

// "socket"
const char* NameOf(Module module);

}  // namespace grove::patch

#endif  // GROVE_PATCH_MODULE_H_
