#ifndef GROVE_NET_UNIX_LISTEN_OPTIONS_H_
#define GROVE_NET_UNIX_LISTEN_OPTIONS_H_

#include <sys/types.h>

namespace grove::net {

// UnixBindOptions
//
// How the file of a Unix socket is made.
//
//   UnixListener::Listen(address, {.mode = 0660});   // its group may connect as well
struct UnixBindOptions {
  // Of the socket's file, whatever the umask: who may connect needs write permission.
  mode_t mode = 0666;
  // Removes a socket's file that is there already and that no socket has any more: what a
  // process that died has left. A file of another kind, or one that is in use, is an
  // error. Of two that replace the same one at the same moment, either may lose its file:
  // who may be started twice at once needs a lock of his own.
  bool replace_stale = true;
};

// UnixListenOptions
struct UnixListenOptions {
  int backlog = 1024;  // the kernel's limit is net.core.somaxconn
  // As in UnixBindOptions.
  mode_t mode = 0666;
  bool replace_stale = true;
};

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_LISTEN_OPTIONS_H_
