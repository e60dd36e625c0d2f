#ifndef GROVE_GREEN_TESTING_SOCKET_PAIR_H_
#define GROVE_GREEN_TESTING_SOCKET_PAIR_H_

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "grove/green/descriptor.h"

namespace grove {

// SocketPair
//
// Two ends of a connection, both non-blocking: `near`, which greenlets wait for, and
// `far`, a plain number with which a test plays the other side. Nothing here blocks.
//
//   SocketPair pair;
//   const Greenlet<> g = Spawn([&] { pair.near.WaitReadable(); });
//   pair.Send();
//   g.Join();
//
// Threads: near's hub's.
class SocketPair {
 public:
  SocketPair() {
    int fds[2] = {-1, -1};
    const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    if (socketpair(AF_UNIX, type, 0, fds) != 0) {
      ADD_FAILURE() << "no socket pair";
      return;
    }
    near = Descriptor(fds[0]);
    far = fds[1];
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  ~SocketPair() { CloseFar(); }

  void CloseFar() {
    if (far >= 0) close(std::exchange(far, -1));
  }

  // One byte from far to near, and the reading of one there.
  void Send() { EXPECT_EQ(write(far, "x", 1), 1); }
  void Receive() {
    char c;
    EXPECT_EQ(read(near.fd(), &c, 1), 1);
  }

  // Makes near one that cannot be written to, and one that can again.
  void FillNear() {
    const std::string block(65536, 'x');
    while (write(near.fd(), block.data(), block.size()) > 0) {
    }
  }
  void DrainFar() {
    std::string block(65536, 0);
    while (read(far, block.data(), block.size()) > 0) {
    }
  }

  Descriptor near;
  int far = -1;
};

}  // namespace grove

#endif  // GROVE_GREEN_TESTING_SOCKET_PAIR_H_
