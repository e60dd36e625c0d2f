#include "grove/net/tcp.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove::net {
namespace {

class Tcp : public testing::Test {
 protected:
  // Both ends of a connection over loopback.
  struct Pair {
    TcpStream client;
    TcpStream server;
  };

  Pair Connected() {
    absl::StatusOr<TcpStream> client = TcpStream::Connect(listener_.address());
    EXPECT_TRUE(client.ok()) << client.status();
    absl::StatusOr<TcpStream> server = listener_.Accept();
    EXPECT_TRUE(server.ok()) << server.status();
    return {*std::move(client), *std::move(server)};
  }

  HubScope scope_;
  TcpListener listener_ = *TcpListener::Listen(Address::Loopback(0));
  char buffer_[4096];
};

absl::string_view View(const char* data, size_t n) { return {data, n}; }

// Writes until the kernel takes no more.
size_t Fill(TcpStream& stream) {
  const std::string chunk(1 << 16, 'x');
  size_t sent = 0;
  for (;;) {
    const ssize_t n = send(stream.fd(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (n < 0) return sent;
    sent += n;
  }
}

TEST_F(Tcp, ConnectsBothWaysAndCarriesBytes) {
  Pair p = Connected();
  ASSERT_TRUE(p.client.Write("hello").ok());
  absl::StatusOr<size_t> n = p.server.Read(absl::MakeSpan(buffer_));
  ASSERT_TRUE(n.ok());
  EXPECT_EQ(View(buffer_, *n), "hello");
  ASSERT_TRUE(p.server.Write("world!").ok());
  ASSERT_TRUE(p.client.ReadExactly(absl::MakeSpan(buffer_, 6)).ok());
  EXPECT_EQ(View(buffer_, 6), "world!");
  EXPECT_EQ(p.client.peer(), listener_.address());
  EXPECT_EQ(p.server.peer(), *p.client.local_address());
}

TEST_F(Tcp, ReadWaitsForData) {
  Pair p = Connected();
  Greenlet<std::string> reader = Spawn([&] {
    char b[100];
    return std::string(b, *p.server.Read(absl::MakeSpan(b)));
  });
  Yield();
  EXPECT_FALSE(reader.ready());
  ASSERT_TRUE(p.client.Write("late").ok());
  EXPECT_EQ(*reader.Get(), "late");
}

TEST_F(Tcp, TheEndOfThePeerIsZeroBytesAndNoError) {
  Pair p = Connected();
  ASSERT_TRUE(p.client.Write("last words").ok());
  ASSERT_TRUE(p.client.ShutdownWrite().ok());
  EXPECT_EQ(*p.server.Read(absl::MakeSpan(buffer_)), 10u);
  EXPECT_EQ(*p.server.Read(absl::MakeSpan(buffer_)), 0u);
  EXPECT_EQ(*p.server.Read(absl::MakeSpan(buffer_)), 0u);
  // Only one direction has ended.
  ASSERT_TRUE(p.server.Write("and mine").ok());
  EXPECT_EQ(*p.client.Read(absl::MakeSpan(buffer_)), 8u);
}

TEST_F(Tcp, AnEmptyBufferDoesNotWait) {
  Pair p = Connected();
  EXPECT_EQ(*p.server.Read(absl::Span<char>()), 0u);
  EXPECT_TRUE(p.server.Write("").ok());
}

TEST_F(Tcp, ReadEndsAtItsDeadlineAndTheStreamLives) {
  Pair p = Connected();
  absl::StatusOr<size_t> n =
      p.server.Read(absl::MakeSpan(buffer_), absl::Milliseconds(1));
  EXPECT_EQ(n.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(n.status().message().find(p.server.Describe()), std::string::npos);
  ASSERT_TRUE(p.client.Write("x").ok());
  EXPECT_EQ(*p.server.Read(absl::MakeSpan(buffer_)), 1u);
}

TEST_F(Tcp, APassedDeadlineReadsWhatIsThere) {
  Pair p = Connected();
  ASSERT_TRUE(p.client.Write("x").ok());
  ASSERT_TRUE(p.server.Read(absl::MakeSpan(buffer_)).ok());
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_), absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(p.client.Write("yz").ok());
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_), absl::ZeroDuration()).value_or(0), 2u);
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_), absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  p.client.Close();
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_), absl::ZeroDuration()).value_or(1), 0u)
      << "the end is there as well";
}

TEST_F(Tcp, TheStreamsOwnTimeoutHoldsForEachCall) {
  Pair p = Connected();
  p.server.set_timeout(absl::Milliseconds(1));
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_), absl::Hours(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(Tcp, AWriteThatStallsSaysHowMuchWasDone) {
  Pair p = Connected();
  const std::string data(64 << 20, 'd');
  const absl::Status status = p.client.Write(data, absl::Milliseconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  const size_t sent = BytesMoved(status);
  EXPECT_GT(sent, 0u);
  EXPECT_LT(sent, data.size());
  p.client.Close();
  size_t received = 0;
  while (size_t n = *p.server.Read(absl::MakeSpan(buffer_))) received += n;
  EXPECT_EQ(received, sent);
}

TEST_F(Tcp, ALargeWriteWaitsForASlowReader) {
  Pair p = Connected();
  std::string data(8 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31);
  Greenlet<absl::Status> writer = Spawn([&] {
    const absl::Status s = p.client.Write(data);
    p.client.Close();
    return s;
  });
  std::string got;
  while (size_t n = *p.server.Read(absl::MakeSpan(buffer_))) got.append(buffer_, n);
  EXPECT_TRUE(writer.Get().ok());
  EXPECT_TRUE(got == data);
}

TEST_F(Tcp, GatherAndScatterKeepTheOrder) {
  Pair p = Connected();
  std::vector<std::string> parts;
  std::string whole;
  for (int i = 0; i < 3000; ++i) {  // more than IOV_MAX
    parts.push_back(std::string(i % 997, static_cast<char>('a' + i % 26)));
    whole += parts.back();
  }
  const std::vector<absl::string_view> views(parts.begin(), parts.end());
  Greenlet<absl::Status> writer = Spawn([&] { return p.client.WriteGather(views); });
  std::string got;
  char a[10];
  char b[4000];
  while (got.size() < whole.size()) {
    const absl::Span<char> spans[] = {absl::MakeSpan(a), absl::MakeSpan(b)};
    const size_t n = *p.server.ReadScatter(spans);
    got.append(a, std::min(n, sizeof a));
    if (n > sizeof a) got.append(b, n - sizeof a);
  }
  EXPECT_TRUE(writer.Get().ok());
  EXPECT_TRUE(got == whole);
}

TEST_F(Tcp, ReadUntilFindsADelimiterThatIsSplit) {
  Pair p = Connected();
  Spawn([&] {
    for (const char* piece : {"GET / HT", "TP\r", "\n", "Host: x\r\n\r\nbody"}) {
      ASSERT_TRUE(p.client.Write(piece).ok());
      Yield();
    }
  });
  std::string rest;
  EXPECT_EQ(*p.server.ReadUntil("\r\n", rest, 100), "GET / HTTP\r\n");
  EXPECT_EQ(*p.server.ReadUntil("\r\n", rest, 100), "Host: x\r\n");
  EXPECT_EQ(*p.server.ReadUntil("\r\n", rest, 100), "\r\n");
  p.client.ShutdownWrite().IgnoreError();
  EXPECT_EQ(p.server.ReadUntil("\r\n", rest, 100).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(rest, "body");
}

TEST_F(Tcp, ReadUntilIsBounded) {
  Pair p = Connected();
  ASSERT_TRUE(p.client.Write(std::string(50, 'x') + "\n").ok());
  std::string rest;
  EXPECT_EQ(p.server.ReadUntil("\n", rest, 20).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(Tcp, ReadExactlySaysHowFarItCame) {
  Pair p = Connected();
  ASSERT_TRUE(p.client.Write("abc").ok());
  p.client.Close();
  const absl::Status s = p.server.ReadExactly(absl::MakeSpan(buffer_, 10));
  EXPECT_EQ(s.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(BytesMoved(s), 3u);
}

TEST_F(Tcp, AKilledReaderStopsAndTheStreamLives) {
  Pair p = Connected();
  Greenlet<> reader = Spawn([&] { (void)p.server.Read(absl::MakeSpan(buffer_)); });
  Yield();
  reader.Kill();
  EXPECT_TRUE(reader.killed());
  ASSERT_TRUE(p.client.Write("x").ok());
  EXPECT_EQ(*p.server.Read(absl::MakeSpan(buffer_)), 1u);
}

TEST_F(Tcp, ATimeoutScopeEndsARead) {
  Pair p = Connected();
  const auto r = WithTimeout(absl::Milliseconds(1),
                             [&] { return p.server.Read(absl::MakeSpan(buffer_)); });
  EXPECT_EQ(r.status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(Tcp, ClosingWakesTheReaderAndTheWriterNamingWhoDidIt) {
  Pair p = Connected();
  Fill(p.server);
  Greenlet<absl::Status> reader = Spawn([&] {
    char b[10];
    return p.server.Read(absl::MakeSpan(b)).status();
  });
  Greenlet<absl::Status> writer = Spawn([&] { return p.server.Write("more"); });
  Yield();
  Spawn(SpawnOptions{.name = "closer"}, [&] { p.server.Close(); }).Join();
  for (Greenlet<absl::Status>* g : {&reader, &writer}) {
    const absl::Status s = g->Get();
    EXPECT_EQ(s.code(), absl::StatusCode::kCancelled);
    EXPECT_NE(s.message().find("closer"), std::string::npos) << s;
  }
  EXPECT_TRUE(p.server.closed());
  EXPECT_EQ(p.server.Read(absl::MakeSpan(buffer_)).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(Tcp, AStreamMayBeDestroyedWhileAnotherGreenletReads) {
  Pair p = Connected();
  auto stream = std::make_unique<TcpStream>(std::move(p.server));
  Greenlet<absl::Status> reader = Spawn([s = stream.get()] {
    char b[10];
    return s->Read(absl::MakeSpan(b)).status();
  });
  Yield();
  stream.reset();
  EXPECT_EQ(reader.Get().code(), absl::StatusCode::kCancelled);
}

TEST_F(Tcp, AResetIsAnErrorWithErrnoAndPeer) {
  Pair p = Connected();
  const std::string peer = p.server.Describe();
  p.client.Abort();
  const absl::Status s = p.server.Read(absl::MakeSpan(buffer_)).status();
  EXPECT_EQ(ErrnoOf(s), ECONNRESET);
  EXPECT_NE(s.message().find(peer), std::string::npos) << s;
}

TEST_F(Tcp, WritingToAPeerThatIsGoneIsAnErrorAndNoSignal) {
  Pair p = Connected();
  p.client.Abort();
  absl::Status s;
  while (s.ok()) s = p.server.Write("x");
  EXPECT_TRUE(ErrnoOf(s) == EPIPE || ErrnoOf(s) == ECONNRESET) << s;
}

TEST_F(Tcp, ConnectionRefusedNamesTheAddress) {
  const Address nobody = TcpListener::Listen(Address::Loopback(0))->address();
  const absl::Status s = TcpStream::Connect(nobody).status();
  EXPECT_EQ(ErrnoOf(s), ECONNREFUSED);
  EXPECT_NE(s.message().find(nobody.ToString()), std::string::npos);
}

TEST_F(Tcp, ConnectEndsAtItsDeadline) {
  // A backlog that is full takes no more: the kernel drops further requests, and a
  // connect waits.
  TcpListener full = *TcpListener::Listen(Address::Loopback(0), {.backlog = 0});
  std::vector<TcpStream> queued;
  absl::Status last;
  for (int i = 0; i < 10 && last.ok(); ++i) {
    absl::StatusOr<TcpStream> s =
        TcpStream::Connect(full.address(), {.deadline = absl::Milliseconds(50)});
    last = s.status();
    if (s.ok()) queued.push_back(*std::move(s));
  }
  EXPECT_EQ(last.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(Tcp, ConnectFromAnAddress) {
  absl::StatusOr<TcpStream> s = TcpStream::Connect(
      listener_.address(), {.source = *Address::FromIp("127.0.0.2", 0)});
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(listener_.Accept()->peer().ip(), "127.0.0.2");
}

TEST_F(Tcp, V6WorksAlike) {
  absl::StatusOr<TcpListener> listener = TcpListener::Listen(*Address::Parse("[::1]:0"));
  ASSERT_TRUE(listener.ok()) << listener.status();
  absl::StatusOr<TcpStream> client = TcpStream::Connect(listener->address());
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_TRUE(listener->Accept()->peer().is_v6());
}

TEST_F(Tcp, AnAddressInUseIsAnErrorThatNamesIt) {
  const absl::Status s = TcpListener::Listen(listener_.address()).status();
  EXPECT_EQ(ErrnoOf(s), EADDRINUSE);
  EXPECT_NE(s.message().find(listener_.address().ToString()), std::string::npos);
  EXPECT_EQ(ErrnoOf(TcpListener::ListenMany(listener_.address(), 2).status()),
            EADDRINUSE);
}

TEST_F(Tcp, ListenManyShareOnePortAndNobodyElseMayJoin) {
  absl::StatusOr<std::vector<TcpListener>> many =
      TcpListener::ListenMany(Address::Loopback(0), 3);
  ASSERT_TRUE(many.ok()) << many.status();
  ASSERT_EQ(many->size(), 3u);
  EXPECT_EQ((*many)[0].address(), (*many)[2].address());
  EXPECT_EQ(ErrnoOf(TcpListener::ListenMany((*many)[0].address(), 3).status()),
            EADDRINUSE);
}

TEST_F(Tcp, ListenManyByCoreGivesEachListenerWhatItsCoreReceives) {
  utsname system;
  int major = 0, minor = 0;
  ASSERT_EQ(uname(&system), 0);
  ASSERT_EQ(sscanf(system.release, "%d.%d", &major, &minor), 2);
  if (major < 6 || (major == 6 && minor < 2)) {
    GTEST_SKIP() << "SO_INCOMING_CPU chooses a listener since Linux 6.2: "
                 << system.release;
  }
  const std::vector<int> cores = AllowedCores();
  absl::StatusOr<std::vector<TcpListener>> many = TcpListener::ListenMany(
      Address::Loopback(0), static_cast<int>(cores.size()), {.by_core = true});
  ASSERT_TRUE(many.ok()) << many.status();
  // What is sent over the loopback is received by the core that sends it.
  struct KeepCores {
    KeepCores() { EXPECT_EQ(sched_getaffinity(0, sizeof before, &before), 0); }
    ~KeepCores() { EXPECT_EQ(sched_setaffinity(0, sizeof before, &before), 0); }
    cpu_set_t before;
  } const keep;
  for (const size_t i : {cores.size() - 1, size_t{0}, cores.size() - 1}) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cores[i], &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    absl::StatusOr<TcpStream> client = TcpStream::Connect((*many)[0].address());
    ASSERT_TRUE(client.ok()) << client.status();
    const absl::StatusOr<TcpStream> accepted = (*many)[i].Accept(absl::Seconds(10));
    ASSERT_TRUE(accepted.ok()) << i << ": " << accepted.status();
    EXPECT_EQ(accepted->peer(), *client->local_address());
  }
}

TEST_F(Tcp, AcceptWaitsEndsAtItsDeadlineAndByClose) {
  EXPECT_EQ(listener_.Accept(absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  Greenlet<absl::Status> acceptor = Spawn([&] { return listener_.Accept().status(); });
  Yield();
  listener_.Close();
  EXPECT_EQ(acceptor.Get().code(), absl::StatusCode::kCancelled);
}

// Who accepts and accepts, be it in vain, lets others run, and can be killed.
TEST_F(Tcp, AcceptingWithoutDescriptorsLetsOthersRun) {
  TcpListener listener = *TcpListener::Listen(Address::Loopback(0));
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Greenlet<> accepts = Spawn([&] {
    for (;;) EXPECT_EQ(ErrnoOf(listener.Accept().status()), EMFILE);
  });
  Yield();
  accepts.Kill();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(accepts.killed());
  listener.Close();
  EXPECT_EQ(listener.Accept().status().code(), absl::StatusCode::kCancelled);
}

TEST_F(Tcp, ReleasedAndAdoptedASocketGoesOn) {
  Pair p = Connected();
  const int fd = p.server.Release();
  EXPECT_TRUE(p.server.closed());
  absl::StatusOr<TcpStream> again = TcpStream::Adopt(fd);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_TRUE(p.client.Write("x").ok());
  EXPECT_EQ(*again->Read(absl::MakeSpan(buffer_)), 1u);
  EXPECT_EQ(again->peer(), *p.client.local_address());
  EXPECT_EQ(ErrnoOf(TcpStream::Adopt(STDIN_FILENO).status()), ENOTSOCK);
  EXPECT_EQ(ErrnoOf(TcpStream::Adopt(-1).status()), EBADF);
}

TEST_F(Tcp, NagleIsOffAtBothEnds) {
  Pair p = Connected();
  for (const TcpStream* s : {&p.client, &p.server}) {
    int on = 0;
    socklen_t size = sizeof on;
    ASSERT_EQ(getsockopt(s->fd(), IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    EXPECT_NE(on, 0);
  }
}

TEST_F(Tcp, AChattyConnectionLetsOthersRun) {
  // gevent#1741: what can always be read never has to wait.
  Pair p = Connected();
  bool stop = false;
  Greenlet<> feeder = Spawn([&] {
    const std::string chunk(1024, 'x');
    while (!stop) (void)p.client.Write(chunk);
  });
  Greenlet<> chatty = Spawn([&] {
    char b[64];
    while (!stop) (void)p.server.Read(absl::MakeSpan(b));
  });
  for (int i = 0; i < 100; ++i) Sleep(absl::Microseconds(10));
  stop = true;
  feeder.Kill();
  chatty.Kill();
}

using TcpDeathTest = Tcp;

TEST_F(TcpDeathTest, TwoReadersAtOnceAreFatalAndNamed) {
  EXPECT_DEATH(
      {
        Pair p = Connected();
        const auto read = [&] { (void)p.server.Read(absl::MakeSpan(buffer_)); };
        Spawn(SpawnOptions{.name = "first"}, read);
        Spawn(SpawnOptions{.name = "second"}, read).Join();
      },
      "two greenlets to read: greenlet 'first'.* and greenlet 'second'");
}

}  // namespace
}  // namespace grove::net
