#include "grove/net/socket_activation.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/os/subprocess.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

constexpr char kProgram[] = "net/socket_activation_program";

Deadline Guard() { return absl::Seconds(60); }

class SocketActivation : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }

  // The program with these descriptors as 3, 4 and so on, and these variables. LISTEN_PID
  // can only be set by the process itself, before the program.
  static absl::StatusOr<Subprocess> Start(std::vector<int> fds,
                                          const std::string& variables) {
    std::string script;
    // First out of the way, for some may lie where others have to go.
    for (size_t i = 0; i < fds.size(); ++i) {
      absl::StrAppend(&script, "exec ", 50 + i, "<&", fds[i], "; ");
    }
    for (size_t i = 0; i < fds.size(); ++i) {
      absl::StrAppend(&script, "exec ", 3 + i, "<&", 50 + i, " ", 50 + i, "<&-; ");
    }
    absl::StrAppend(&script, variables, " exec ", kProgram);
    return Subprocess::Start(
        {"bash", "-c", script},
        {.in = Stdio::Null(), .out = Stdio::Pipe(), .pass_fds = fds});
  }
  static std::string Run(std::vector<int> fds, const std::string& variables) {
    absl::StatusOr<Subprocess> program = Start(std::move(fds), variables);
    if (!program.ok()) return program.status().ToString();
    return program->Communicate({.deadline = Guard()})->out;
  }
};

GREENLET_TEST_F(SocketActivation, TheSocketsAreServedByWhoTheyWerePassedTo) {
  TcpListener tcp = *TcpListener::Listen(Address::Loopback(0));
  UnixListener local = *UnixListener::Listen(UnixAddress());
  UdpSocket udp = *UdpSocket::Bind(Address::Loopback(0));
  const int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
  // As a supervisor, that of NOTIFY_SOCKET too.
  const int supervisor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  ASSERT_EQ(bind(supervisor, reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t)), 0);
  socklen_t size = sizeof name;
  ASSERT_EQ(getsockname(supervisor, reinterpret_cast<sockaddr*>(&name), &size), 0);
  const std::string abstract(name.sun_path + 1,
                             size - offsetof(sockaddr_un, sun_path) - 1);

  absl::StatusOr<Subprocess> program =
      Start({udp.fd(), tcp.fd(), other, local.fd()},
            absl::StrCat("LISTEN_PID=$$ LISTEN_FDS=4 LISTEN_FDNAMES=dns:web:null:local ",
                         "NOTIFY_SOCKET=@", abstract));
  ASSERT_TRUE(program.ok()) << program.status();
  close(other);
  // They were there before it was; nobody here serves them.
  char buffer[10];
  TcpStream a = *TcpStream::Connect(tcp.address());
  EXPECT_EQ(*a.Read(absl::MakeSpan(buffer), Guard()), 3u);
  UnixStream b = *UnixStream::Connect(local.address());
  EXPECT_EQ(*b.Read(absl::MakeSpan(buffer), Guard()), 4u);
  UdpSocket c = *UdpSocket::Connect(*udp.local_address());
  ASSERT_TRUE(c.Send("hello").ok());
  EXPECT_EQ(c.ReceiveFrom(absl::MakeSpan(buffer), Guard())->bytes, 3u);

  const absl::StatusOr<CompletedProcess> done =
      program->Communicate({.deadline = Guard()});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->out,
            "names: dns web null local\n"
            "FAILED_PRECONDITION: the socket 'web' that was passed to this process is a "
            "TCP listener, and not a Unix listener\n"
            "NOT_FOUND: no socket 'nothing' was passed to this process\n"
            "left: 1\n"
            "OK\n");
  EXPECT_EQ(recv(supervisor, buffer, sizeof buffer, MSG_DONTWAIT), 7);
  EXPECT_EQ(absl::string_view(buffer, 7), "READY=1");
  close(supervisor);
}

GREENLET_TEST_F(SocketActivation, WhatWasPassedToAnotherProcessIsNotTaken) {
  TcpListener tcp = *TcpListener::Listen(Address::Loopback(0));
  EXPECT_EQ(Run({tcp.fd()}, "LISTEN_PID=1 LISTEN_FDS=1"),
            "names:\nstill there: LISTEN_FDS\nstill there: LISTEN_PID\n");
  EXPECT_EQ(Run({tcp.fd()}, "LISTEN_FDS=1"), "names:\nstill there: LISTEN_FDS\n");
  EXPECT_EQ(Run({}, ""), "names:\n");
  EXPECT_EQ(Run({}, "LISTEN_PID=$$ LISTEN_FDS=0"), "names:\n");
}

GREENLET_TEST_F(SocketActivation, ANameIsUnknownIfThereIsNone) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_THAT(Run({null}, "LISTEN_PID=$$ LISTEN_FDS=1"), HasSubstr("names: unknown\n"));
  close(null);
}

GREENLET_TEST_F(SocketActivation, VariablesThatMakeNoSenseAreErrors) {
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const auto error = [&](const std::string& variables) {
    return Run({null}, "LISTEN_PID=$$ " + variables);
  };
  EXPECT_THAT(error("LISTEN_FDS=x"), HasSubstr("LISTEN_FDS='x' is not a number"));
  EXPECT_THAT(error("LISTEN_FDS=-1"), HasSubstr("LISTEN_FDS='-1' is not a number"));
  EXPECT_THAT(error("LISTEN_FDS=99999999999"), HasSubstr("is not a number"));
  EXPECT_THAT(error("LISTEN_FDS=1 LISTEN_FDNAMES=a:b"),
              HasSubstr("LISTEN_FDNAMES='a:b' has 2 names for 1 descriptors"));
  EXPECT_THAT(error("LISTEN_FDS=2"), HasSubstr("take fd 4 of LISTEN_FDS=2: Bad file"));
  close(null);
}

GREENLET_TEST_F(SocketActivation, NotifyingNobodyIsNoErrorAndSomebodyWhoIsGoneIs) {
  ASSERT_EQ(getenv("NOTIFY_SOCKET"), nullptr);
  EXPECT_TRUE(NotifySupervisor("READY=1").ok());
  setenv("NOTIFY_SOCKET", "@grove-nobody-is-here", 1);
  EXPECT_EQ(ErrnoOf(NotifySupervisor("READY=1")), ECONNREFUSED);
  setenv("NOTIFY_SOCKET", "vsock:2:1", 1);
  EXPECT_EQ(NotifySupervisor("READY=1").code(), Code::kInvalidArgument);
  unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace grove::net
