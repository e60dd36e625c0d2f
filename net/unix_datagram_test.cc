#include "grove/net/unix_datagram.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/socket_options.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

class UnixDatagram : public GreenletTest {
 protected:
  void SetUp() override {
    // Short: a socket's path has 107 bytes.
    char name[] = "/tmp/grove-dgram-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    server_ = *UnixDatagramSocket::Bind(Path("server"));
  }
  void TearDown() override {
    server_.Close();
    EXPECT_EQ(rmdir(directory_.c_str()), 0) << "a file is left";
  }

  UnixAddress Path(absl::string_view name) const {
    return *UnixAddress::Parse(absl::StrCat(directory_, "/", name));
  }
  bool Exists(const UnixAddress& a) const { return access(a.raw().c_str(), F_OK) == 0; }
  std::string Text(const UnixMessage& m) const { return std::string(buffer_, m.bytes); }

  // Sends to the server until it has too many.
  int Fill(UnixDatagramSocket& from) {
    int n = 0;
    while (from.SendTo("x", Path("server"), Deadline::Passed()).ok()) ++n;
    return n;
  }

  std::string directory_;
  UnixDatagramSocket server_;
  char buffer_[4096];
};

GREENLET_TEST_F(UnixDatagram, CarriesMessagesThereAndBack) {
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(Path("client"));
  ASSERT_TRUE(client.SetPeer(Path("server")).ok());
  const Greenlet<> echo = Spawn([&] {
    char buffer[100];
    for (int i = 0; i < 3; ++i) {
      const UnixMessage m = *server_.Receive(absl::MakeSpan(buffer));
      EXPECT_EQ(m.peer, Path("client"));
      ASSERT_TRUE(server_.SendTo({buffer, m.bytes}, m.peer).ok());
    }
  });
  for (const std::string& text : {std::string("one"), std::string(), std::string("3")}) {
    ASSERT_TRUE(client.Send(text).ok());
    const UnixMessage m = *client.Receive(absl::MakeSpan(buffer_));
    EXPECT_EQ(Text(m), text);
    EXPECT_FALSE(m.truncated);
    EXPECT_EQ(m.peer, Path("server"));
  }
  echo.Join();
}

GREENLET_TEST_F(UnixDatagram, AbstractNamesLeaveNoFile) {
  const UnixAddress name = *UnixAddress::Parse(absl::StrCat("@grove-dgram-", getpid()));
  UnixDatagramSocket named = *UnixDatagramSocket::Bind(name);
  UnixDatagramSocket nameless = *UnixDatagramSocket::Connect(name);
  ASSERT_TRUE(nameless.Send("x").ok());
  EXPECT_TRUE(named.Receive(absl::MakeSpan(buffer_))->peer.unnamed());
  // The kernel's choice, so that it can be answered.
  UnixDatagramSocket autobound = *UnixDatagramSocket::Bind(UnixAddress());
  EXPECT_TRUE(autobound.local_address()->abstract());
  ASSERT_TRUE(autobound.SendTo("x", name).ok());
  EXPECT_EQ(named.Receive(absl::MakeSpan(buffer_))->peer, *autobound.local_address());
}

GREENLET_TEST_F(UnixDatagram, SaysWhatWasCutOff) {
  UnixDatagramSocket client = *UnixDatagramSocket::Connect(Path("server"));
  ASSERT_TRUE(client.Send("too long").ok());
  ASSERT_TRUE(client.Send("ok").ok());
  UnixMessage m = *server_.Receive(absl::MakeSpan(buffer_, 3));
  EXPECT_EQ(Text(m), "too");
  EXPECT_TRUE(m.truncated);
  m = *server_.Receive(absl::MakeSpan(buffer_, 3));
  EXPECT_EQ(Text(m), "ok");
  EXPECT_FALSE(m.truncated);
}

GREENLET_TEST_F(UnixDatagram, ReceivingBlocksUntilThereIsOne) {
  UnixDatagramSocket client = *UnixDatagramSocket::Connect(Path("server"));
  const Greenlet<> later = Spawn([&] { EXPECT_TRUE(client.Send("late").ok()); });
  EXPECT_EQ(Text(*server_.Receive(absl::MakeSpan(buffer_))), "late");
}

GREENLET_TEST_F(UnixDatagram, ReceivingEndsWithItsDeadlineAKillAndAClose) {
  EXPECT_EQ(server_.Receive(absl::MakeSpan(buffer_), absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  const Greenlet<> killed =
      Spawn([&] { server_.Receive(absl::MakeSpan(buffer_)).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<absl::Status> closed =
      Spawn([&] { return server_.Receive(absl::MakeSpan(buffer_)).status(); });
  Yield();
  server_.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(server_.Receive(absl::MakeSpan(buffer_)).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(server_.SendTo("x", Path("server")).code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(UnixDatagram, WhoSendsToAFullSocketWaitsForRoom) {
  // Also one that is not connected, of which the kernel says that it can be written to.
  UnixDatagramSocket unconnected = *UnixDatagramSocket::Bind(UnixAddress());
  UnixDatagramSocket connected = *UnixDatagramSocket::Connect(Path("server"));
  const int n = Fill(unconnected);
  EXPECT_GT(n, 0);
  const Greenlet<absl::Status> a =
      Spawn([&] { return unconnected.SendTo("a", Path("server")); });
  const Greenlet<absl::Status> b =
      Spawn([&] { return unconnected.SendTo("b", Path("server")); });
  const Greenlet<absl::Status> c = Spawn([&] { return connected.Send("c"); });
  for (int i = 0; i < 10; ++i) Yield();
  EXPECT_FALSE(a.ready() || b.ready() || c.ready());
  std::string received;
  for (int i = 0; i < n + 3; ++i) {
    received += Text(*server_.Receive(absl::MakeSpan(buffer_)));
  }
  EXPECT_TRUE(a.Get().ok() && b.Get().ok() && c.Get().ok());
  received.erase(0, n);
  std::sort(received.begin(), received.end());
  EXPECT_EQ(received, "abc");
}

GREENLET_TEST_F(UnixDatagram, WaitingForRoomEndsWithItsDeadlineAKillAndAClose) {
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(UnixAddress());
  Fill(client);
  const absl::Status late = client.SendTo("x", Path("server"), absl::Seconds(1));
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(late.message()), HasSubstr(Path("server").ToString()));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  const Greenlet<> killed =
      Spawn([&] { client.SendTo("x", Path("server")).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<absl::Status> closed =
      Spawn([&] { return client.SendTo("x", Path("server")); });
  Yield();
  client.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(UnixDatagram, AReceiverThatGoesIsAnErrorForWhoWaits) {
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(UnixAddress());
  Fill(client);
  const Greenlet<absl::Status> sender =
      Spawn([&] { return client.SendTo("x", Path("server")); });
  Yield();
  server_.Close();
  const absl::Status s = sender.Get();
  EXPECT_TRUE(ErrnoOf(s) == ECONNREFUSED || ErrnoOf(s) == ENOENT) << s;
}

GREENLET_TEST_F(UnixDatagram, NobodyThereIsAnErrorThatNamesThem) {
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(UnixAddress());
  absl::Status s = client.SendTo("x", Path("none"));
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("send to unix:" + Path("none").ToString()));
  s = UnixDatagramSocket::Connect(Path("none")).status();
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("connect to unix:" + Path("none").ToString()));
  // One who was there.
  ASSERT_TRUE(client.SetPeer(Path("server")).ok());
  server_.Close();
  EXPECT_EQ(ErrnoOf(client.Send("x")), ECONNREFUSED);
  EXPECT_EQ(ErrnoOf(UnixDatagramSocket().Send("x")), 0);
}

GREENLET_TEST_F(UnixDatagram, ADatagramThatIsTooLargeIsAnError) {
  UnixDatagramSocket client = *UnixDatagramSocket::Connect(Path("server"));
  ASSERT_TRUE(SetOption(client, SendBuffer{8192}).ok());
  EXPECT_EQ(ErrnoOf(client.Send(std::string(64 << 10, 'x'))), EMSGSIZE);
  EXPECT_EQ(ErrnoOf(client.SendTo(std::string(64 << 10, 'x'), Path("server"))), EMSGSIZE);
  ASSERT_TRUE(client.Send("small").ok());
  EXPECT_EQ(Text(*server_.Receive(absl::MakeSpan(buffer_))), "small");
}

GREENLET_TEST_F(UnixDatagram, DescriptorsTravelWithADatagram) {
  UnixDatagramSocket client = *UnixDatagramSocket::Bind(UnixAddress());
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  ASSERT_TRUE(client.SendDescriptorsTo("two", pipe_fds, Path("server")).ok());
  const UnixMessage m = *server_.ReceiveDescriptors(absl::MakeSpan(buffer_), 2);
  EXPECT_EQ(Text(m), "two");
  ASSERT_EQ(m.fds.size(), 2u);
  EXPECT_EQ(fcntl(m.fds[0], F_GETFD), FD_CLOEXEC);
  ASSERT_EQ(write(pipe_fds[1], "x", 1), 1);
  EXPECT_EQ(read(m.fds[0], buffer_, 1), 1) << "it is the same pipe";
  for (int fd : m.fds) close(fd);
  // With no bytes; to a receiver that wants none; more than it wants.
  ASSERT_TRUE(client.SetPeer(Path("server")).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.SendDescriptors("", pipe_fds).ok());
  EXPECT_TRUE(server_.Receive(absl::MakeSpan(buffer_))->fds.empty());
  EXPECT_EQ(server_.ReceiveDescriptors(absl::MakeSpan(buffer_), 1).status().code(),
            absl::StatusCode::kResourceExhausted);
  UnixMessage both = *server_.ReceiveDescriptors(absl::MakeSpan(buffer_), 2);
  EXPECT_EQ(both.fds.size(), 2u);
  for (int fd : both.fds) close(fd);
  for (int fd : pipe_fds) close(fd);
  EXPECT_EQ(client.SendDescriptors("x", std::vector<int>(254, STDIN_FILENO)).code(),
            absl::StatusCode::kInvalidArgument);
}

GREENLET_TEST_F(UnixDatagram, DescriptorsThatTheProcessHasNoRoomForAreAnError) {
  UnixDatagramSocket client = *UnixDatagramSocket::Connect(Path("server"));
  ASSERT_TRUE(client.SendDescriptors("x", std::vector<int>(5, STDIN_FILENO)).ok());
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = dup(STDIN_FILENO);
  close(next);
  rlimit tight = limit;
  tight.rlim_cur = static_cast<rlim_t>(next) + 2;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  const absl::Status s = server_.ReceiveDescriptors(absl::MakeSpan(buffer_), 5).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(s.code(), absl::StatusCode::kResourceExhausted) << s;
}

GREENLET_TEST_F(UnixDatagram, WhoSentItIsToldIfAskedFor) {
  UnixDatagramSocket client = *UnixDatagramSocket::Connect(Path("server"));
  ASSERT_TRUE(client.Send("x").ok());
  EXPECT_FALSE(server_.Receive(absl::MakeSpan(buffer_))->sender.has_value());
  ASSERT_TRUE(SetOption(server_, PassCredentials{true}).ok());
  const PeerCredentials self{getpid(), getuid(), getgid()};
  ASSERT_TRUE(client.Send("x").ok());
  EXPECT_EQ(server_.Receive(absl::MakeSpan(buffer_))->sender, self);
  // Together with descriptors, wanted and not.
  const int one[] = {STDIN_FILENO};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(client.SendDescriptors("x", one).ok());
  EXPECT_EQ(server_.Receive(absl::MakeSpan(buffer_))->sender, self);
  const UnixMessage m = *server_.ReceiveDescriptors(absl::MakeSpan(buffer_), 1);
  EXPECT_EQ(m.sender, self);
  ASSERT_EQ(m.fds.size(), 1u);
  close(m.fds[0]);
}

GREENLET_TEST_F(UnixDatagram, APairIsConnected) {
  auto [a, b] = *UnixDatagramSocket::Pair();
  ASSERT_TRUE(a.Send("one").ok());
  ASSERT_TRUE(a.Send("two").ok());
  EXPECT_EQ(Text(*b.Receive(absl::MakeSpan(buffer_))), "one");
  EXPECT_EQ(Text(*b.Receive(absl::MakeSpan(buffer_))), "two");
  EXPECT_EQ(a.peer_credentials()->pid, getpid());
}

GREENLET_TEST_F(UnixDatagram, CloseRemovesTheFileThatBindMadeAndNoOther) {
  EXPECT_TRUE(Exists(Path("server")));
  const absl::Status in_use = UnixDatagramSocket::Bind(Path("server")).status();
  EXPECT_EQ(ErrnoOf(in_use), EADDRINUSE);
  EXPECT_THAT(std::string(in_use.message()),
              HasSubstr("bind unix:" + Path("server").ToString()));
  server_.Close();
  EXPECT_FALSE(Exists(Path("server")));
  {
    const UnixDatagramSocket destroyed = *UnixDatagramSocket::Bind(Path("server"));
    EXPECT_TRUE(Exists(Path("server")));
  }
  EXPECT_FALSE(Exists(Path("server")));
  // What a dead process has left is replaced.
  close(UnixDatagramSocket::Bind(Path("server"))->Release());
  EXPECT_TRUE(Exists(Path("server")));
  EXPECT_EQ(
      ErrnoOf(
          UnixDatagramSocket::Bind(Path("server"), {.replace_stale = false}).status()),
      EADDRINUSE);
  UnixDatagramSocket first = *UnixDatagramSocket::Bind(Path("server"));
  // Another's in its place stays.
  ASSERT_EQ(unlink(Path("server").raw().c_str()), 0);
  UnixDatagramSocket second = *UnixDatagramSocket::Bind(Path("server"));
  first.Close();
  EXPECT_TRUE(Exists(Path("server")));
  // Assigned over, it goes with its file.
  second = *UnixDatagramSocket::Bind(Path("other"));
  EXPECT_FALSE(Exists(Path("server")));
  // Adopted, it is whoever's who made it.
  UnixDatagramSocket adopted = *UnixDatagramSocket::Adopt(second.Release());
  adopted.Close();
  EXPECT_TRUE(Exists(Path("other")));
  unlink(Path("other").raw().c_str());
}

}  // namespace
}  // namespace grove::net
