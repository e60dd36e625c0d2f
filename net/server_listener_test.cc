#include <errno.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_listener.h"
#include "grove/net/unix.h"

// A StreamServer over listeners of other kinds, and how it begins and ends to accept.
namespace grove::net {
namespace {

void Echo(Stream& stream) {
  char buffer[100];
  for (;;) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0) return;
    if (!stream.Write({buffer, *n}).ok()) return;
  }
}

std::string Ask(Stream& stream, absl::string_view question) {
  if (absl::Status s = stream.Write(question); !s.ok()) return s.ToString();
  std::string answer(question.size(), '\0');
  if (absl::Status s = stream.ReadExactly(absl::MakeSpan(answer)); !s.ok()) {
    return s.ToString();
  }
  return answer;
}

class RealTime : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(RealTime, AUnixServerHandsOutUnixStreams) {
  const std::string name = absl::StrCat("@grove-server-test-", getpid());
  UnixListener listener = *UnixListener::Listen(*UnixAddress::Parse(name));
  const UnixAddress address = listener.address();
  StreamServer server(std::move(listener), [](UnixStream& s) {
    EXPECT_EQ(s.peer_credentials()->pid, getpid());
    Echo(s);
  });
  server.Start();
  EXPECT_EQ(server.description(), name);
  UnixStream client = *UnixStream::Connect(address);
  EXPECT_EQ(Ask(client, "hello"), "hello");
  EXPECT_EQ(server.Stop(absl::Hours(1)).finished, 1u);
  EXPECT_EQ(ErrnoOf(UnixStream::Connect(address).status()), ECONNREFUSED);
}

GREENLET_TEST_F(RealTime, AHandlerOfAnyStreamServesAll) {
  UnixListener unix_listener = *UnixListener::Listen(UnixAddress());
  const UnixAddress unix_address = unix_listener.address();
  StreamServer over_tcp(*TcpListener::Listen(Address::Loopback(0)), &Echo);
  StreamServer over_unix(std::move(unix_listener), &Echo);
  over_tcp.Start();
  over_unix.Start();
  TcpStream a = *TcpStream::Connect(over_tcp.address());
  UnixStream b = *UnixStream::Connect(unix_address);
  EXPECT_EQ(Ask(a, "tcp"), "tcp");
  EXPECT_EQ(Ask(b, "unix"), "unix");
}

GREENLET_TEST(ServerAccepting, WhilePausedConnectionsWaitAndOthersGoOn) {
  MemoryListener listener;
  StreamServer server(listener, &Echo);
  server.Start();
  MemoryStream before = *listener.Connect();
  EXPECT_EQ(Ask(before, "x"), "x");
  server.PauseAccepting();
  MemoryStream meanwhile = *listener.Connect();
  ASSERT_TRUE(meanwhile.Write("y").ok());
  EXPECT_EQ(Ask(before, "still"), "still");
  Sleep(absl::Hours(1));
  EXPECT_EQ(server.active(), 1u);
  EXPECT_EQ(listener.backlog(), 1u);
  EXPECT_TRUE(server.accepting());
  server.ResumeAccepting();
  char c;
  EXPECT_EQ(*meanwhile.Read(absl::MakeSpan(&c, 1)), 1u);
}

GREENLET_TEST(ServerAccepting, AStopWithAGraceServesWhoHasConnected) {
  MemoryListener listener;
  StreamServer server(listener, &Echo);
  server.Start();
  Yield();  // it waits for somebody
  std::vector<MemoryStream> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(*listener.Connect());
    ASSERT_TRUE(clients.back().Write("request").ok());
  }
  EXPECT_EQ(server.accepted(), 0u);
  EXPECT_EQ(server.Stop(absl::Seconds(1)).finished, 5u);
  for (MemoryStream& c : clients) {
    char buffer[10];
    EXPECT_EQ(*c.Read(absl::MakeSpan(buffer)), 7u);
    EXPECT_EQ(*c.Read(absl::MakeSpan(buffer)), 0u);
  }
  EXPECT_EQ(ErrnoOf(listener.Connect().status()), ECONNREFUSED);
}

GREENLET_TEST(ServerAccepting, AStopWithoutGraceResetsThem) {
  MemoryListener listener;
  StreamServer server(listener, &Echo);
  server.Start();
  Yield();
  MemoryStream client = *listener.Connect();
  server.Stop();
  char c;
  EXPECT_EQ(ErrnoOf(client.Read(absl::MakeSpan(&c, 1)).status()), ECONNRESET);
}

// Begun or not: it does not go on after the end.
TEST(ServerSeeds, AStopWithoutGraceEndsWhatBeginsMeanwhile) {
  ForEachSeed(100, [] {
    MemoryListener listener;
    int begun = 0;
    int ended = 0;
    StreamServer server(listener, [&](Stream&) {
      ++begun;
      struct Mark {
        int* n;
        ~Mark() { ++*n; }
      } mark{&ended};
      Sleep(absl::InfiniteDuration());
    });
    server.Start();
    std::vector<MemoryStream> clients;
    for (int i = 0; i < 10; ++i) clients.push_back(*listener.Connect());
    while (server.accepted() < 5) Yield();
    server.Stop();
    EXPECT_EQ(server.active(), 0u);
    EXPECT_EQ(begun, ended);
  });
}

GREENLET_TEST(ServerAccepting, AKilledStopIsTakenUpByTheNext) {
  MemoryListener listener;
  StreamServer server(listener, [](Stream&) { Sleep(absl::InfiniteDuration()); });
  server.Start();
  MemoryStream client = *listener.Connect();
  Sleep(absl::Seconds(1));
  const Greenlet<> stop = Spawn([&] { server.Stop(absl::Hours(1)); });
  Yield();
  EXPECT_EQ(ErrnoOf(listener.Connect().status()), ECONNREFUSED);
  stop.Kill();
  EXPECT_EQ(server.active(), 1u);
  EXPECT_EQ(server.Stop().cut, 1u);
  EXPECT_EQ(server.active(), 0u);
}

// A listener whose connections begin with a password.
class PasswordListener {
 public:
  explicit PasswordListener(MemoryListener listener) : listener_(listener) {}
  absl::StatusOr<MemoryStream> TryAccept() { return listener_.TryAccept(); }
  absl::Status WaitForConnection() { return listener_.WaitForConnection(); }
  void Close() { listener_.Close(); }
  MemoryListener::Name address() const { return listener_.address(); }

  absl::Status Greet(MemoryStream& stream) {
    char word[3];
    if (absl::Status s = stream.ReadExactly(absl::MakeSpan(word), absl::Seconds(10));
        !s.ok()) {
      return s;
    }
    return absl::string_view(word, 3) == "pax" ? absl::OkStatus()
                                               : absl::PermissionDeniedError("who?");
  }

 private:
  MemoryListener listener_;
};

GREENLET_TEST(ServerGreeting, ASlowOneHoldsUpNobodyAndABadOneIsNotHandled) {
  MemoryListener listener;
  int handled = 0;
  StreamServer server(PasswordListener(listener), [&](Stream& s) {
    ++handled;
    Echo(s);
  });
  server.Start();
  MemoryStream silent = *listener.Connect();
  MemoryStream wrong = *listener.Connect();
  MemoryStream right = *listener.Connect();
  ASSERT_TRUE(wrong.Write("war").ok());
  ASSERT_TRUE(right.Write("pax").ok());
  EXPECT_EQ(Ask(right, "hello"), "hello");
  char c;
  EXPECT_EQ(*wrong.Read(absl::MakeSpan(&c, 1)), 0u);
  Sleep(absl::Seconds(11));
  EXPECT_EQ(*silent.Read(absl::MakeSpan(&c, 1)), 0u);
  EXPECT_EQ(handled, 1);
  EXPECT_EQ(server.statistics().failed, 2u);
}

GREENLET_TEST(ServerGreeting, ADrainEndsOneThatIsUnderWay) {
  MemoryListener listener;
  StreamServer server(PasswordListener(listener), &Echo);
  server.Start();
  MemoryStream silent = *listener.Connect();
  Sleep(absl::Seconds(1));
  EXPECT_EQ(server.Stop(absl::Hours(1)).cut, 0u);
  EXPECT_LT(Elapsed(), absl::Seconds(2));
}

TEST(ServerDeathTest, TheAddressOfAServerWithoutOneIsAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope;
        StreamServer server(MemoryListener(), &Echo);
        (void)server.address();
      },
      "address.. of one at memory");
}

}  // namespace
}  // namespace grove::net
