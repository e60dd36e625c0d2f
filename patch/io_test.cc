// read, write, recv, send, connect, accept and close, as any program calls them.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/patch/patched_test.h"

// What _FORTIFY_SOURCE makes of the calls.
extern "C" ssize_t __read_chk(int, void*, size_t, size_t);
extern "C" ssize_t __recv_chk(int, void*, size_t, size_t, int);
extern "C" ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, sockaddr*, socklen_t*);

namespace grove::patch {
namespace {

class PatchedIo : public PatchedTest {
 protected:
  void TearDown() override {
    for (const int fd : fds_) close(fd);
  }

  // Closed in the end.
  struct Ends {
    int a, b;
  };
  Ends Pipe() {
    int fds[2];
    EXPECT_EQ(pipe(fds), 0);
    return Keep(fds);
  }
  Ends SocketPair(int type = SOCK_STREAM) {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, type, 0, fds), 0);
    return Keep(fds);
  }
  int Keep(int fd) {
    EXPECT_GE(fd, 0) << strerror(errno);
    fds_.push_back(fd);
    return fd;
  }
  void Closed(int fd) { std::erase(fds_, fd); }

 private:
  Ends Keep(const int (&fds)[2]) {
    fds_.insert(fds_.end(), fds, fds + 2);
    return {fds[0], fds[1]};
  }
  std::vector<int> fds_;
};

using Reader = ssize_t (*)(int, void*, size_t);
ssize_t ByReadChk(int fd, void* p, size_t n) { return __read_chk(fd, p, n, n); }
ssize_t ByReadV(int fd, void* p, size_t n) {
  const iovec pieces[] = {{p, 1}, {static_cast<char*>(p) + 1, n - 1}};
  return readv(fd, pieces, 2);
}
ssize_t ByRecv(int fd, void* p, size_t n) { return recv(fd, p, n, 0); }
ssize_t ByRecvChk(int fd, void* p, size_t n) { return __recv_chk(fd, p, n, n, 0); }
ssize_t ByRecvFrom(int fd, void* p, size_t n) {
  sockaddr_storage from;
  socklen_t size = sizeof from;
  return recvfrom(fd, p, n, 0, reinterpret_cast<sockaddr*>(&from), &size);
}
ssize_t ByRecvFromChk(int fd, void* p, size_t n) {
  return __recvfrom_chk(fd, p, n, n, 0, nullptr, nullptr);
}
ssize_t ByRecvMsg(int fd, void* p, size_t n) {
  iovec piece = {p, n};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return recvmsg(fd, &message, 0);
}
ssize_t ByRecvMMsg(int fd, void* p, size_t n) {
  iovec piece = {p, n};
  mmsghdr message = {};
  message.msg_hdr.msg_iov = &piece;
  message.msg_hdr.msg_iovlen = 1;
  const int count = recvmmsg(fd, &message, 1, 0, nullptr);
  return count == 1 ? static_cast<ssize_t>(message.msg_len) : count;
}

struct NamedReader {
  const char* name;
  Reader read;
  bool sockets_only;
};
constexpr NamedReader kReaders[] = {{"read", &read, false},
                                    {"__read_chk", &ByReadChk, false},
                                    {"readv", &ByReadV, false},
                                    {"recv", &ByRecv, true},
                                    {"__recv_chk", &ByRecvChk, true},
                                    {"recvfrom", &ByRecvFrom, true},
                                    {"__recvfrom_chk", &ByRecvFromChk, true},
                                    {"recvmsg", &ByRecvMsg, true},
                                    {"recvmmsg", &ByRecvMMsg, true}};

GREENLET_TEST_F(PatchedIo, AReaderWaitsAsAGreenlet) {
  for (const NamedReader& r : kReaders) {
    for (const bool socket : {true, false}) {
      if (!socket && r.sockets_only) continue;
      const Ends ends = socket ? SocketPair() : Pipe();
      char buffer[16];
      const uint64_t waits = Waits(r.name);
      const Greenlet<ssize_t> reader =
          Spawn([&] { return r.read(ends.a, buffer, sizeof buffer); });
      Yield();
      EXPECT_FALSE(reader.ready()) << r.name;
      EXPECT_EQ(Waits(r.name), waits + 1) << r.name;
      EXPECT_EQ(write(ends.b, "hello", 5), 5);
      EXPECT_EQ(*reader.Get(), 5) << r.name;
      EXPECT_EQ(std::string(buffer, 5), "hello") << r.name;
    }
  }
}

GREENLET_TEST_F(PatchedIo, TheEndIsTheEnd) {
  for (const NamedReader& r : kReaders) {
    const Ends ends = SocketPair();
    char buffer[16];
    const Greenlet<ssize_t> reader =
        Spawn([&] { return r.read(ends.a, buffer, sizeof buffer); });
    Yield();
    shutdown(ends.b, SHUT_WR);
    EXPECT_EQ(*reader.Get(), 0) << r.name;
  }
}

GREENLET_TEST_F(PatchedIo, WhatTheProgramMadeNonBlockingIsSo) {
  const Ends ends = SocketPair();
  fcntl(ends.a, F_SETFL, O_NONBLOCK);
  char buffer[16];
  for (const NamedReader& r : kReaders) {
    EXPECT_EQ(r.read(ends.a, buffer, sizeof buffer), -1) << r.name;
    EXPECT_EQ(errno, EAGAIN) << r.name;
  }
  const std::string much(1 << 22, 'x');
  const ssize_t n = send(ends.a, much.data(), much.size(), 0);
  EXPECT_GT(n, 0);
  EXPECT_LT(n, 1 << 22);
  EXPECT_EQ(write(ends.a, much.data(), much.size()), -1);
  EXPECT_EQ(errno, EAGAIN);
}

GREENLET_TEST_F(PatchedIo, ACallThatSaysDontWaitDoesNot) {
  const Ends ends = SocketPair();
  char buffer[16];
  EXPECT_EQ(recv(ends.a, buffer, sizeof buffer, MSG_DONTWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
}

GREENLET_TEST_F(PatchedIo, ItsFlagsAreTheProgramsOwn) {
  const Ends ends = SocketPair();
  char buffer[16];
  const Greenlet<ssize_t> reader =
      Spawn([&] { return read(ends.a, buffer, sizeof buffer); });
  Yield();
  EXPECT_EQ(fcntl(ends.a, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(write(ends.b, "x", 1), 1);
  EXPECT_EQ(*reader.Get(), 1);
}

GREENLET_TEST_F(PatchedIo, TheSocketsOwnTimeoutIsKept) {
  const Ends ends = SocketPair();
  const timeval t = {.tv_sec = 60, .tv_usec = 0};
  ASSERT_EQ(setsockopt(ends.a, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
  char buffer[16];
  const absl::Duration before = Elapsed();
  EXPECT_EQ(recv(ends.a, buffer, sizeof buffer, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(Elapsed() - before, absl::Seconds(60));
}

// And says what was sent until then (socket(7)).
GREENLET_TEST_F(PatchedIo, AWritersOwnTimeoutIsKept) {
  const Ends ends = SocketPair();
  const timeval t = {.tv_sec = 60, .tv_usec = 0};
  ASSERT_EQ(setsockopt(ends.a, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), 0);
  const std::string much(3'000'000, 'x');
  absl::Duration before = Elapsed();
  const ssize_t sent = send(ends.a, much.data(), much.size(), 0);
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, static_cast<ssize_t>(much.size()));
  EXPECT_GE(Elapsed() - before, absl::Seconds(60));
  before = Elapsed();
  EXPECT_EQ(write(ends.a, "x", 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(Elapsed() - before, absl::Seconds(60));
}

GREENLET_TEST_F(PatchedIo, WaitAllWaitsForAll) {
  const Ends ends = SocketPair();
  char buffer[6];
  const Greenlet<ssize_t> reader =
      Spawn([&] { return recv(ends.a, buffer, sizeof buffer, MSG_WAITALL); });
  for (const char* piece : {"ab", "cd", "ef"}) {
    Yield();
    EXPECT_FALSE(reader.ready());
    EXPECT_EQ(write(ends.b, piece, 2), 2);
  }
  EXPECT_EQ(*reader.Get(), 6);
  EXPECT_EQ(std::string(buffer, 6), "abcdef");
}

GREENLET_TEST_F(PatchedIo, WaitAllHasTheSocketsTimeoutOnce) {
  const Ends ends = SocketPair();
  const timeval ten_seconds = {.tv_sec = 10, .tv_usec = 0};
  ASSERT_EQ(setsockopt(ends.a, SOL_SOCKET, SO_RCVTIMEO, &ten_seconds, sizeof ten_seconds),
            0);
  const Greenlet<> peer = Spawn([&] {
    for (int i = 0; i < 8; ++i) {
      Sleep(absl::Seconds(4));
      EXPECT_EQ(send(ends.b, "x", 1, 0), 1);
    }
  });
  char buffer[8];
  EXPECT_EQ(recv(ends.a, buffer, sizeof buffer, MSG_WAITALL), 2);
  peer.Join();
}

GREENLET_TEST_F(PatchedIo, WaitAllKeepsTheDescriptorsOfALaterPiece) {
  const Ends ends = SocketPair();
  const Ends sent = Pipe();
  const Greenlet<> peer = Spawn([&] {
    EXPECT_EQ(send(ends.b, "head", 4, 0), 4);
    Yield();
    char data[] = "body";
    iovec piece = {data, 4};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* const c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &sent.b, sizeof(int));
    EXPECT_EQ(sendmsg(ends.b, &message, 0), 4);
  });
  char buffer[100];
  iovec piece = {buffer, sizeof buffer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  // They end it, as they do in the kernel.
  ASSERT_EQ(recvmsg(ends.a, &message, MSG_WAITALL), 8);
  EXPECT_EQ(message.msg_flags & MSG_CTRUNC, 0);
  const cmsghdr* const c = CMSG_FIRSTHDR(&message);
  ASSERT_NE(c, nullptr);
  int received;
  memcpy(&received, CMSG_DATA(c), sizeof received);
  Keep(received);
  ASSERT_EQ(write(received, "y", 1), 1);
  EXPECT_EQ(read(sent.a, buffer, 1), 1);
}

// Neither of them ever waits in the kernel.
GREENLET_TEST_F(PatchedIo, WhatIsUrgentOrAnErrorIsNotWaitedFor) {
  const Ends ends = SocketPair();
  char c;
  EXPECT_EQ(recv(ends.a, &c, 1, MSG_OOB), -1);
  const int udp = Keep(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_EQ(recv(udp, &c, 1, MSG_ERRQUEUE), -1);
  EXPECT_EQ(errno, EAGAIN);
  const int counter = Keep(eventfd(0, 0));
  EXPECT_EQ(read(counter, &c, 1), -1) << "less than a count";
  EXPECT_EQ(errno, EINVAL);
}

GREENLET_TEST_F(PatchedIo, WhoTriesWithoutWaitingLetsOthersRun) {
  const Ends ends = SocketPair();
  char c;
  mmsghdr messages = {};
  iovec piece = {&c, 1};
  messages.msg_hdr.msg_iov = &piece;
  messages.msg_hdr.msg_iovlen = 1;
  const std::function<int()> tries[] = {
      [&] { return static_cast<int>(recv(ends.a, &c, 1, MSG_DONTWAIT)); },
      [&] { return recvmmsg(ends.a, &messages, 1, MSG_DONTWAIT, nullptr); }};
  for (const auto& attempt : tries) {
    bool other = false;
    Spawn([&] { other = true; });
    while (!other) EXPECT_EQ(attempt(), -1);
  }
}

GREENLET_TEST_F(PatchedIo, AWriterWritesAllOfIt) {
  const std::string sent(3'000'000, 'y');
  const auto by_send = [&](int fd) { return send(fd, sent.data(), sent.size(), 0); };
  const auto by_sendto = [&](int fd) {
    return sendto(fd, sent.data(), sent.size(), 0, nullptr, 0);
  };
  const auto by_write = [&](int fd) { return write(fd, sent.data(), sent.size()); };
  iovec pieces[] = {{const_cast<char*>(sent.data()), 1'000'001},
                    {const_cast<char*>(sent.data()), 1'999'999}};
  const auto by_writev = [&](int fd) { return writev(fd, pieces, 2); };
  msghdr message = {};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  const auto by_sendmsg = [&](int fd) { return sendmsg(fd, &message, 0); };
  const std::vector<std::function<ssize_t(int)>> writers = {by_send, by_sendto, by_write,
                                                            by_writev, by_sendmsg};
  for (size_t i = 0; i < writers.size(); ++i) {
    for (const bool socket : {true, false}) {
      if (!socket && i != 2 && i != 3) continue;
      const Ends ends = socket ? SocketPair() : Pipe();
      const int from = ends.a;
      const Greenlet<ssize_t> writer = Spawn([&] { return writers[i](ends.b); });
      std::string got;
      std::vector<char> buffer(70'000);
      while (got.size() < sent.size()) {
        const ssize_t n = read(from, buffer.data(), buffer.size());
        ASSERT_GT(n, 0);
        got.append(buffer.data(), static_cast<size_t>(n));
      }
      EXPECT_EQ(*writer.Get(), 3'000'000) << i;
      EXPECT_TRUE(got == sent) << i;
    }
  }
}

GREENLET_TEST_F(PatchedIo, AKillEndsTheCallAndIsThrownByGroveItself) {
  const Ends ends = SocketPair();
  int error = 0;
  bool came_back = false;
  const Greenlet<> reader = Spawn([&] {
    char c;
    if (read(ends.a, &c, 1) < 0) error = errno;
    came_back = true;
    Sleep(absl::Hours(1));
    ADD_FAILURE() << "killed before";
  });
  Yield();
  reader.Kill();
  EXPECT_TRUE(came_back);
  EXPECT_EQ(error, ECANCELED);
  EXPECT_TRUE(reader.killed());
}

GREENLET_TEST_F(PatchedIo, ATimeoutEndsTheCallToo) {
  const Ends ends = SocketPair();
  int error = 0;
  EXPECT_EQ(WithTimeout(absl::Seconds(5),
                        [&] {
                          char c;
                          if (recv(ends.a, &c, 1, 0) < 0) error = errno;
                          CheckInterrupt();
                        })
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(error, ECANCELED);
}

GREENLET_TEST_F(PatchedIo, CloseEndsTheWaitsOfOthers) {
  const Ends ends = SocketPair();
  int errors[2] = {};
  std::vector<Greenlet<>> readers;
  for (int& error : errors) {
    readers.push_back(Spawn([&error, fd = ends.a] {
      char c;
      if (read(fd, &c, 1) < 0) error = errno;
    }));
  }
  Yield();
  EXPECT_EQ(close(ends.a), 0);
  Closed(ends.a);
  for (const auto& reader : readers) reader.Join();
  EXPECT_THAT(errors, ::testing::Each(EBADF));
}

GREENLET_TEST_F(PatchedIo, Dup2OverADescriptorEndsTheWaitsForIt) {
  for (const bool with_flags : {false, true}) {
    const Ends ends = SocketPair();
    const Ends others = SocketPair();
    int error = 0;
    const Greenlet<> reader = Spawn([&] {
      char c;
      if (read(ends.a, &c, 1) < 0) error = errno;
    });
    Yield();
    EXPECT_EQ(with_flags ? dup3(others.a, ends.a, O_CLOEXEC) : dup2(others.a, ends.a),
              ends.a);
    reader.Join();
    EXPECT_EQ(error, EBADF);
    EXPECT_EQ(fcntl(ends.a, F_GETFD), with_flags ? FD_CLOEXEC : 0);
    // What it stands for now can be waited for.
    const Greenlet<ssize_t> next = Spawn([&] {
      char c;
      return read(ends.a, &c, 1);
    });
    Yield();
    EXPECT_EQ(write(others.b, "x", 1), 1);
    EXPECT_EQ(*next.Get(), 1);
    EXPECT_EQ(dup3(ends.a, ends.a, O_CLOEXEC), -1);
    EXPECT_EQ(errno, EINVAL);
  }
}

GREENLET_TEST_F(PatchedIo, SeveralMayReadOneDescriptor) {
  const Ends ends = SocketPair(SOCK_DGRAM);
  int got = 0;
  std::vector<Greenlet<>> readers;
  for (int i = 0; i < 5; ++i) {
    readers.push_back(Spawn([&] {
      char c;
      got += recv(ends.a, &c, 1, 0) == 1;
    }));
  }
  Yield();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(send(ends.b, "x", 1, 0), 1);
  for (const auto& reader : readers) reader.Join();
  EXPECT_EQ(got, 5);
}

GREENLET_TEST_F(PatchedIo, ADescriptorThatIsNotOpenIsSaidToBe) {
  char c;
  EXPECT_EQ(read(12345, &c, 1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(recv(12345, &c, 1, 0), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(write(12345, &c, 1), -1);
  EXPECT_EQ(errno, EBADF);
}

GREENLET_TEST_F(PatchedIo, FilesAreReadAndWritten) {
  std::string path = testing::TempDir() + "grove_patch_XXXXXX";
  const int fd = Keep(mkstemp(path.data()));
  unlink(path.c_str());
  EXPECT_EQ(write(fd, "some text", 9), 9);
  EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
  char buffer[16];
  EXPECT_EQ(read(fd, buffer, sizeof buffer), 9);
  EXPECT_EQ(read(fd, buffer, sizeof buffer), 0);
}

GREENLET_TEST_F(PatchedIo, AnEventFdIsWaitedFor) {
  const int fd = Keep(eventfd(0, 0));
  const Greenlet<ssize_t> reader = Spawn([&] {
    uint64_t value = 0;
    EXPECT_EQ(read(fd, &value, sizeof value), 8);
    return static_cast<ssize_t>(value);
  });
  Yield();
  EXPECT_FALSE(reader.ready());
  const uint64_t three = 3;
  EXPECT_EQ(write(fd, &three, sizeof three), 8);
  EXPECT_EQ(*reader.Get(), 3);
}

GREENLET_TEST_F(PatchedIo, AnEventFdIsWaitedForByItsOwnCalls) {
  const int fd = Keep(eventfd(0, 0));
  const Greenlet<ssize_t> reader = Spawn([&] {
    eventfd_t value = 0;
    EXPECT_EQ(eventfd_read(fd, &value), 0);
    return static_cast<ssize_t>(value);
  });
  Yield();
  EXPECT_FALSE(reader.ready());
  EXPECT_EQ(eventfd_write(fd, 5), 0);
  EXPECT_EQ(*reader.Get(), 5);
  // As much as there is room for, and then a wait for who reads.
  EXPECT_EQ(eventfd_write(fd, ~uint64_t{0} - 1), 0);
  const Greenlet<int> writer = Spawn([&] { return eventfd_write(fd, 1); });
  Yield();
  EXPECT_FALSE(writer.ready());
  eventfd_t value = 0;
  EXPECT_EQ(eventfd_read(fd, &value), 0);
  EXPECT_EQ(value, ~uint64_t{0} - 1);
  EXPECT_EQ(*writer.Get(), 0);
  EXPECT_EQ(eventfd_read(-1, &value), -1);
  EXPECT_EQ(errno, EBADF);
}

GREENLET_TEST_F(PatchedIo, ATimerFdIsWaitedFor) {
  const int fd = Keep(timerfd_create(CLOCK_MONOTONIC, 0));
  const Greenlet<ssize_t> reader = Spawn([&] {
    uint64_t expirations = 0;
    EXPECT_EQ(read(fd, &expirations, sizeof expirations), 8);
    return static_cast<ssize_t>(expirations);
  });
  Yield();
  EXPECT_FALSE(reader.ready());
  const itimerspec now = {.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
  ASSERT_EQ(timerfd_settime(fd, 0, &now, nullptr), 0);
  EXPECT_EQ(*reader.Get(), 1);
}

GREENLET_TEST_F(PatchedIo, ASignalFdIsWaitedFor) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
  const int fd = Keep(signalfd(-1, &set, 0));
  const Greenlet<ssize_t> reader = Spawn([&] {
    signalfd_siginfo info = {};
    EXPECT_EQ(read(fd, &info, sizeof info), static_cast<ssize_t>(sizeof info));
    return static_cast<ssize_t>(info.ssi_signo);
  });
  Yield();
  EXPECT_FALSE(reader.ready());
  ASSERT_EQ(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2), 0);
  EXPECT_EQ(*reader.Get(), SIGUSR2);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &old, nullptr), 0);
}

GREENLET_TEST_F(PatchedIo, AnInotifyIsWaitedFor) {
  const std::string file = testing::TempDir() + "watched";
  close(creat(file.c_str(), 0600));
  const int fd = Keep(inotify_init());
  ASSERT_GE(inotify_add_watch(fd, file.c_str(), IN_ATTRIB), 0);
  const Greenlet<ssize_t> reader = Spawn([&] {
    alignas(inotify_event) char event[256] = {};
    EXPECT_GT(read(fd, event, sizeof event), 0);
    return static_cast<ssize_t>(reinterpret_cast<inotify_event*>(event)->mask);
  });
  Yield();
  EXPECT_FALSE(reader.ready());
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  EXPECT_EQ(*reader.Get(), IN_ATTRIB);
}

// --- connections ---

sockaddr_in Loopback() {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

GREENLET_TEST_F(PatchedIo, AThreadPerConnectionServerServesGreenlets) {
  const int listener = Keep(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = Loopback();
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 128), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  constexpr int kClients = 100;
  const Greenlet<> server = Spawn([&] {
    std::vector<Greenlet<>> handlers;
    for (int i = 0; i < kClients; ++i) {
      const int fd = i % 2 ? accept(listener, nullptr, nullptr)
                           : accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      ASSERT_GE(fd, 0) << strerror(errno);
      handlers.push_back(Spawn([fd] {
        char buffer[100];
        for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
          EXPECT_EQ(write(fd, buffer, static_cast<size_t>(n)), n);
        }
        close(fd);
      }));
    }
    for (const auto& handler : handlers) handler.Join();
  });
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Spawn([&, i] {
      const int fd = socket(AF_INET, SOCK_STREAM, 0);
      ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), size), 0)
          << strerror(errno);
      EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
      const std::string text = "client " + std::to_string(i);
      for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(send(fd, text.data(), text.size(), 0),
                  static_cast<ssize_t>(text.size()));
        char buffer[100];
        const ssize_t n = recv(fd, buffer, text.size(), MSG_WAITALL);
        EXPECT_EQ(std::string(buffer, static_cast<size_t>(n)), text);
      }
      close(fd);
    }));
  }
  for (const auto& client : clients) client.Join();
  server.Join();
  EXPECT_EQ(fcntl(listener, F_GETFL) & O_NONBLOCK, 0);
}

GREENLET_TEST_F(PatchedIo, ARefusedConnectionSaysSo) {
  const int listener = Keep(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = Loopback();
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  const int fd = Keep(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), size), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
}

GREENLET_TEST_F(PatchedIo, AfterARefusalAConnectBeginsAnew) {
  const int listener = Keep(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto where = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, where, size), 0);
  ASSERT_EQ(getsockname(listener, where, &size), 0);
  const int fd = Keep(socket(AF_INET, SOCK_STREAM, 0));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(connect(fd, where, size), -1);
    EXPECT_EQ(errno, ECONNREFUSED) << i;
  }
  ASSERT_EQ(listen(listener, 1), 0);
  EXPECT_EQ(connect(fd, where, size), 0);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(connect(fd, where, size), -1);
    EXPECT_EQ(errno, EISCONN) << i;
  }
}

GREENLET_TEST_F(PatchedIo, AFullUnixListenerIsWaitedFor) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const int listener = Keep(socket(AF_UNIX, SOCK_STREAM, 0));
  // An abstract name that the kernel chooses (unix(7), autobind).
  ASSERT_EQ(
      bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(sa_family_t)),
      0);
  socklen_t size = sizeof address;
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(listen(listener, 0), 0);
  const int first = Keep(socket(AF_UNIX, SOCK_STREAM, 0));
  ASSERT_EQ(connect(first, reinterpret_cast<const sockaddr*>(&address), size), 0);
  const int second = Keep(socket(AF_UNIX, SOCK_STREAM, 0));
  const Greenlet<int> connecting = Spawn(
      [&] { return connect(second, reinterpret_cast<const sockaddr*>(&address), size); });
  Yield();
  EXPECT_FALSE(connecting.ready());
  Keep(accept(listener, nullptr, nullptr));
  EXPECT_EQ(*connecting.Get(), 0);
}

GREENLET_TEST_F(PatchedIo, BatchesOfDatagrams) {
  const Ends ends = SocketPair(SOCK_DGRAM);
  char data[3][8] = {"one", "two", "three"};
  iovec pieces[3];
  mmsghdr messages[3] = {};
  for (int i = 0; i < 3; ++i) {
    pieces[i] = {data[i], strlen(data[i])};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  char buffers[3][8];
  iovec places[3];
  mmsghdr got[3] = {};
  for (int i = 0; i < 3; ++i) {
    places[i] = {buffers[i], sizeof buffers[i]};
    got[i].msg_hdr.msg_iov = &places[i];
    got[i].msg_hdr.msg_iovlen = 1;
  }
  const Greenlet<int> receiver =
      Spawn([&] { return recvmmsg(ends.a, got, 3, 0, nullptr); });
  Yield();
  EXPECT_EQ(sendmmsg(ends.b, messages, 1, 0), 1);
  Yield();
  EXPECT_FALSE(receiver.ready()) << "all three are waited for";
  EXPECT_EQ(sendmmsg(ends.b, messages + 1, 2, 0), 2);
  EXPECT_EQ(*receiver.Get(), 3);
  EXPECT_EQ(std::string(buffers[2], got[2].msg_len), "three");
  // And as many as there are.
  EXPECT_EQ(sendmmsg(ends.b, messages, 2, 0), 2);
  EXPECT_EQ(recvmmsg(ends.a, got, 3, MSG_WAITFORONE, nullptr), 2);
}

// --- by syscall(2) ---

GREENLET_TEST_F(PatchedIo, RawCallsWaitAsTheirFunctionsDo) {
  const Ends ends = SocketPair();
  char buffer[4];
  iovec vector = {buffer, sizeof buffer};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  pollfd poll_fd = {.fd = ends.a, .events = POLLIN, .revents = 0};
  const std::pair<const char*, std::function<long()>> waits[] = {
      {"read", [&] { return syscall(SYS_read, ends.a, buffer, 4); }},
      {"readv", [&] { return syscall(SYS_readv, ends.a, &vector, 1); }},
      {"recvfrom",
       [&] { return syscall(SYS_recvfrom, ends.a, buffer, 4, 0, nullptr, nullptr); }},
      {"recvmsg", [&] { return syscall(SYS_recvmsg, ends.a, &message, 0); }},
      {"ppoll", [&] {
         const long ready = syscall(SYS_ppoll, &poll_fd, 1, nullptr, nullptr, 8);
         return ready == 1 ? syscall(SYS_read, ends.a, buffer, 4) : ready;
       }}};
  for (const auto& [name, wait] : waits) {
    SCOPED_TRACE(name);
    const Greenlet<long> waiter = Spawn(wait);
    Yield();  // would be for ever, if it stopped the thread
    EXPECT_FALSE(waiter.ready());
    EXPECT_EQ(syscall(SYS_write, ends.b, "xyz", 3), 3);
    EXPECT_EQ(*waiter.Get(), 3);
  }
  const absl::Duration before = Elapsed();
  const timespec hour = {.tv_sec = 3600, .tv_nsec = 0};
  EXPECT_EQ(syscall(SYS_nanosleep, &hour, nullptr), 0);
  EXPECT_EQ(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &hour, nullptr), 0);
  EXPECT_GE(Elapsed() - before, absl::Hours(2));
  // Errors are the kernel's.
  EXPECT_EQ(syscall(SYS_clock_nanosleep, 12345, 0, &hour, nullptr), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(syscall(SYS_read, -1, buffer, 4), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(syscall(SYS_getpid), getpid());
}

}  // namespace
}  // namespace grove::patch
