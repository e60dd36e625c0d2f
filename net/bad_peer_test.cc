#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/poll.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/copy.h"
#include "grove/net/send_file.h"
#include "grove/net/socket_options.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"
#include "grove/net/unix_datagram.h"
#include "grove/net/unix_seqpacket.h"

// Peers that behave badly, and a process without descriptors. That nothing is leaked is
// what the fixture looks at.
namespace grove::net {
namespace {

using absl::StatusCode;
using ::testing::HasSubstr;

class BadPeer : public GreenletTest {
 protected:
  void SetUp() override {
    listener_ = *TcpListener::Listen(Address::Loopback(0));
    peer_ = *TcpStream::Connect(listener_.address());
    stream_ = *listener_.Accept();
  }
  void TearDown() override {
    stream_.Close();
    peer_.Close();
    listener_.Close();
  }

  // Until the kernel takes no more.
  void FillStream() {
    const std::string block(1 << 16, 'x');
    while (*stream_.TryWrite(block) > 0) {
    }
  }
  static void ExpectReset(const absl::Status& s) {
    EXPECT_TRUE(ErrnoOf(s) == ECONNRESET || ErrnoOf(s) == EPIPE) << s;
    EXPECT_EQ(s.code(), StatusCode::kUnavailable);
    EXPECT_THAT(std::string(s.message()), HasSubstr("127.0.0.1:"));
  }

  TcpListener listener_;
  TcpStream peer_, stream_;
  char buffer_[4096];
};

GREENLET_TEST_F(BadPeer, AResetEndsEachKindOfWait) {
  const int file = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const std::string data(64 << 20, 'x');
  std::string rest;
  const std::pair<const char*, std::function<absl::Status()>> waits[] = {
      {"Read", [&] { return stream_.Read(absl::MakeSpan(buffer_)).status(); }},
      {"ReadExactly", [&] { return stream_.ReadExactly(absl::MakeSpan(buffer_)); }},
      {"ReadUntil", [&] { return stream_.ReadUntil("\n", rest, 100).status(); }},
      {"Write", [&] { return stream_.Write(data); }},
      {"WriteGather",
       [&] {
         return stream_.WriteGather({data, data});
       }},
      {"SendFile", [&] { return SendFile(stream_, file, 0, kToTheEnd).status(); }},
      {"Copy", [&] { return Copy(stream_, stream_); }},
  };
  for (const auto& [name, wait] : waits) {
    SCOPED_TRACE(name);
    stream_ = {};
    peer_ = *TcpStream::Connect(listener_.address());
    stream_ = *listener_.Accept();
    const Greenlet<absl::Status> waiting = Spawn(wait);
    // The Writes have filled it before they wait.
    Yield();
    EXPECT_FALSE(waiting.ready());
    peer_.Abort();
    ExpectReset(waiting.Get());
    EXPECT_FALSE(stream_.closed()) << "it is the caller's to close";
    // And each after that, at once.
    EXPECT_FALSE(stream_.Write("x").ok());
  }
  close(file);
}

GREENLET_TEST_F(BadPeer, APeerThatHasEndedHalfCanStillBeWrittenTo) {
  ASSERT_TRUE(peer_.ShutdownWrite().ok());
  EXPECT_EQ(*stream_.Read(absl::MakeSpan(buffer_)), 0u);
  ASSERT_TRUE(stream_.Write("answer").ok());
  EXPECT_EQ(*peer_.Read(absl::MakeSpan(buffer_)), 6u);
  // Now it is gone altogether, which only writing shows.
  peer_.Close();
  EXPECT_EQ(*stream_.Read(absl::MakeSpan(buffer_)), 0u);
  absl::Status s;
  while ((s = stream_.Write("more")).ok()) {
  }
  ExpectReset(s);
}

GREENLET_TEST_F(BadPeer, WhatWasSentBeforeAnEndIsReadBeforeIt) {
  ASSERT_TRUE(peer_.Write("last words").ok());
  peer_.Close();
  EXPECT_EQ(*stream_.Read(absl::MakeSpan(buffer_)), 10u);
  EXPECT_EQ(*stream_.Read(absl::MakeSpan(buffer_)), 0u);
}

GREENLET_TEST_F(BadPeer, OneWhoResetsInTheBacklogHarmsNobody) {
  TcpStream bad = *TcpStream::Connect(listener_.address());
  bad.Abort();
  TcpStream good = *TcpStream::Connect(listener_.address());
  ASSERT_TRUE(good.Write("x").ok());
  // Linux hands out the one that was reset too; its first read says so.
  TcpStream accepted = *listener_.Accept();
  if (accepted.peer() != *good.local_address()) {
    ExpectReset(accepted.Read(absl::MakeSpan(buffer_)).status());
    accepted = *listener_.Accept();
  }
  EXPECT_EQ(*accepted.Read(absl::MakeSpan(buffer_)), 1u);
}

GREENLET_TEST_F(BadPeer, APeerThatDoesNotReadIsNoticedByItsDeadline) {
  FillStream();
  EXPECT_EQ(stream_.Write("x", absl::Seconds(5)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
}

GREENLET_TEST_F(BadPeer, AUnixPeerThatGoesWithoutReadingIsAReset) {
  auto [a, b] = *UnixStream::Pair();
  ASSERT_TRUE(a.Write("unread").ok());
  b.Close();
  EXPECT_EQ(ErrnoOf(a.Read(absl::MakeSpan(buffer_)).status()), ECONNRESET);
  EXPECT_EQ(ErrnoOf(a.Write("x")), EPIPE);
  const int one[] = {STDERR_FILENO};
  EXPECT_EQ(ErrnoOf(a.SendDescriptors("x", one)), EPIPE);
}

GREENLET_TEST_F(BadPeer, ADatagramThatIsTooLargeIsAnErrorThatNamesThePeer) {
  UdpSocket server = *UdpSocket::Bind(Address::Loopback(0));
  UdpSocket client = *UdpSocket::Connect(*server.local_address());
  const std::string large(70'000, 'x');
  EXPECT_EQ(ErrnoOf(client.Send(large)), EMSGSIZE);
  const absl::Status s = client.SendTo(large, *server.local_address());
  EXPECT_EQ(ErrnoOf(s), EMSGSIZE);
  EXPECT_THAT(std::string(s.message()), HasSubstr(server.local_address()->ToString()));
  ASSERT_TRUE(client.Send("small").ok()) << "the socket is as good as before";
}

// While one lives the process has no descriptor left.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const int next = dup(STDERR_FILENO);
    close(next);
    rlimit low = before_;
    low.rlim_cur = static_cast<rlim_t>(next);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  }
  ~NoDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_;
};

GREENLET_TEST_F(BadPeer, WithoutDescriptorsEachCallSaysSoAndLeavesNothing) {
  const UnixAddress name = *UnixAddress::Parse(absl::StrCat("@grove-bad-", getpid()));
  UnixListener unix_listener = *UnixListener::Listen(name);
  UnixStream unix_client = *UnixStream::Connect(name);
  TcpStream client = *TcpStream::Connect(listener_.address());
  const Address any = Address::Loopback(0);
  const std::pair<const char*, std::function<absl::Status()>> calls[] = {
      {"connect", [&] { return TcpStream::Connect(listener_.address()).status(); }},
      {"listen", [&] { return TcpListener::Listen(any).status(); }},
      {"accept", [&] { return listener_.Accept().status(); }},
      {"bind UDP", [&] { return UdpSocket::Bind(any).status(); }},
      {"connect UDP", [&] { return UdpSocket::Connect(listener_.address()).status(); }},
      {"Unix connect", [&] { return UnixStream::Connect(name).status(); }},
      {"Unix listen", [&] { return UnixListener::Listen(UnixAddress()).status(); }},
      {"Unix accept", [&] { return unix_listener.Accept().status(); }},
      {"Unix pair", [&] { return UnixStream::Pair().status(); }},
      {"bind datagram", [&] { return UnixDatagramSocket::Bind(UnixAddress()).status(); }},
      {"datagram", [&] { return UnixDatagramSocket::Connect(name).status(); }},
      {"datagram pair", [&] { return UnixDatagramSocket::Pair().status(); }},
      {"seqpacket", [&] { return UnixSeqPacket::Connect(name).status(); }},
      {"seqpacket pair", [&] { return UnixSeqPacket::Pair().status(); }},
      {"packets", [&] { return UnixSeqPacketListener::Listen(UnixAddress()).status(); }},
  };
  for (const auto& [what, call] : calls) {
    absl::Status s;
    {
      const NoDescriptors none;
      s = call();
    }
    EXPECT_EQ(s.code(), StatusCode::kResourceExhausted) << what << ": " << s;
    EXPECT_EQ(ErrnoOf(s), EMFILE) << what;
    EXPECT_FALSE(s.message().empty());
  }
  // Who waited in a backlog meanwhile is still there.
  EXPECT_TRUE(listener_.Accept().ok());
  EXPECT_TRUE(unix_listener.Accept().ok());
}

GREENLET_TEST_F(BadPeer, ASenderWaitsForRoomWithoutDescriptorsToo) {
  UnixDatagramSocket receiver = *UnixDatagramSocket::Bind(UnixAddress());
  const UnixAddress there = *receiver.local_address();
  UnixDatagramSocket sender = *UnixDatagramSocket::Bind(UnixAddress());
  {
    // The set of who polls is made when it is needed.
    pollfd p{.fd = sender.fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(*Poll(absl::MakeSpan(&p, 1), absl::Microseconds(1)), 0);
  }
  int n = 0;
  while (sender.SendTo("x", there, Deadline::Passed()).ok()) ++n;
  const NoDescriptors none;
  EXPECT_EQ(sender.SendTo("x", there, absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded);
  const Greenlet<absl::Status> waiting = Spawn([&] { return sender.SendTo("x", there); });
  Yield();
  ASSERT_TRUE(receiver.Receive(absl::MakeSpan(buffer_)).ok());
  EXPECT_TRUE(waiting.Get().ok());
}

}  // namespace
}  // namespace grove::net
