#include "grove/net/tls_listener.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/server.h"
#include "grove/net/server_group.h"
#include "grove/net/stream_ref.h"
#include "grove/net/testing/memory_listener.h"
#include "grove/net/tls_test_util.h"

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

// Over memory: no time passes but what a test lets pass.
class TlsServer : public GreenletTest {
 protected:
  TlsStream Connect(MemoryListener& listener) {
    return TlsStream(*listener.Connect(), ClientContext(), "a.test");
  }
};

GREENLET_TEST_F(TlsServer, TheHandlerGetsAStreamPastItsHandshake) {
  MemoryListener listener;
  StreamServer server(TlsListener(listener, ServerContext()), [](TlsStream& s) {
    EXPECT_TRUE(s.handshaken());
    EXPECT_EQ(s.server_name(), "a.test");
    Echo(s);
  });
  server.Start();
  TlsStream client = Connect(listener);
  EXPECT_EQ(Ask(client, "hello"), "hello");
  EXPECT_EQ(server.Stop(absl::Hours(1)).finished, 1u);
  // The server has said that it ends.
  char c;
  EXPECT_EQ(client.Read(absl::MakeSpan(&c, 1)).value_or(9), 0u);
}

// A handler that goes over to TLS by itself, and leaves the stream where it is.
GREENLET_TEST_F(TlsServer, ItsLimitsAndItsDrainReachAStreamThatIsReferredTo) {
  MemoryListener listener;
  const TlsServerContext context = ServerContext();
  StreamServer server(listener,
                      [&](MemoryStream& transport) {
                        TlsStream stream(StreamRef(transport), context);
                        Echo(stream);
                      },
                      {.idle_limit = absl::Seconds(40)});
  server.Start();
  TlsStream idle = Connect(listener);
  TlsStream busy = Connect(listener);
  EXPECT_EQ(Ask(idle, "hello"), "hello");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Ask(busy, "hello"), "hello");
    Sleep(absl::Seconds(30));
  }
  EXPECT_EQ(server.statistics().cut_idle, 1u);
  EXPECT_EQ(server.active(), 1u);
  EXPECT_EQ(server.Stop(absl::Hours(1)).finished, 1u);
  EXPECT_LT(Elapsed(), absl::Minutes(3));
}

GREENLET_TEST_F(TlsServer, ClientsThatAreSlowOrTalkNonsenseHoldUpNobody) {
  MemoryListener listener;
  StreamServer server(
      TlsListener(listener, ServerContext({.handshake_timeout = absl::Seconds(10)})),
      &Echo);
  server.Start();
  std::vector<MemoryStream> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(*listener.Connect());
  MemoryStream nonsense = *listener.Connect();
  ASSERT_TRUE(nonsense.Write("GET / HTTP/1.1\r\n\r\n").ok());
  MemoryStream reset = *listener.Connect();
  reset.Abort();
  TlsStream client = Connect(listener);
  EXPECT_EQ(Ask(client, "hello"), "hello");
  EXPECT_LT(Elapsed(), absl::Seconds(1));
  EXPECT_EQ(server.statistics().failed, 2u);
  EXPECT_EQ(server.active(), 21u);
  Sleep(absl::Seconds(11));
  EXPECT_EQ(server.statistics().failed, 22u);
  EXPECT_EQ(server.active(), 1u);
}

GREENLET_TEST_F(TlsServer, LimitsSeeWhatIsBelowTls) {
  MemoryListener listener;
  StreamServer server(TlsListener(listener, ServerContext()), &Echo,
                      {.idle_limit = absl::Seconds(30)});
  server.Start();
  TlsStream client = Connect(listener);
  EXPECT_EQ(Ask(client, "hello"), "hello");
  Sleep(absl::Seconds(60));
  EXPECT_EQ(server.statistics().cut_idle, 1u);
  EXPECT_EQ(server.active(), 0u);
}

GREENLET_TEST_F(TlsServer, AnAbortIsAResetBelowTls) {
  MemoryListener listener;
  StreamServer server(TlsListener(listener, ServerContext()),
                      [](TlsStream& stream) { stream.Abort(); });
  server.Start();
  TlsStream client = Connect(listener);
  char c;
  const absl::Status end = client.Read(absl::MakeSpan(&c, 1)).status();
  EXPECT_EQ(ErrnoOf(end), ECONNRESET) << end;
}

GREENLET_TEST_F(TlsServer, AResetInAnyStateLeavesNothing) {
  MemoryListener listener;
  StreamServer server(TlsListener(listener, ServerContext()), &Echo);
  server.Start();
  // The handshake and an echo are some 2,000 bytes in all.
  for (uint64_t at = 0; at < 2500; at += 61) {
    MemoryListener faulty(
        {.fault = at % 2 ? StreamFault::kReset : StreamFault::kEnd, .fault_after = at});
    StreamServer other(TlsListener(faulty, ServerContext()), &Echo);
    other.Start();
    TlsStream client = Connect(faulty);
    (void)Ask(client, "hello");
    client.Close();
    EXPECT_EQ(other.Stop(absl::Hours(1)).cut, 0u) << at;
  }
}

class TlsServerOverTcp : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
};

GREENLET_TEST_F(TlsServerOverTcp, PeersAreCountedByTheirAddress) {
  StreamServer server(
      TlsListener(*TcpListener::Listen(Address::Loopback(0)), ServerContext()), &Echo,
      {.max_per_peer = 1});
  server.Start();
  const auto connect = [&] {
    return TlsStream(*TcpStream::Connect(server.address()), ClientContext(), "a.test");
  };
  TlsStream first = connect();
  EXPECT_EQ(Ask(first, "x"), "x");
  TlsStream second = connect();
  EXPECT_FALSE(second.Handshake(absl::Seconds(30)).ok());
  EXPECT_EQ(server.statistics().refused, 1u);
}

// What it never reads, session tickets and a greeting, must not take back what it wrote.
GREENLET_TEST_F(TlsServerOverTcp, AClientThatOnlyWritesMayCloseAtOnce) {
  constexpr size_t kRead = 4 << 20;  // until the client has closed
  constexpr size_t kSize = kRead + (1 << 20);
  size_t received = 0;
  absl::Status end = absl::UnknownError("not called");
  bool go_on = false;
  TcpListener listener = *TcpListener::Listen(Address::Loopback(0));
  // So that much of it is still in the client's socket then.
  const int small = 65536;
  ASSERT_EQ(setsockopt(listener.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  StreamServer server(
      TlsListener(std::move(listener), ServerContext()), [&](TlsStream& stream) {
        EXPECT_TRUE(stream.Write("welcome").ok());
        std::string buffer(1 << 16, '\0');
        for (;;) {
          while (received > kRead && !go_on) Yield();
          const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
          end = n.status();
          if (!n.ok() || *n == 0) return;
          received += *n;
        }
      });
  server.Start();
  {
    TlsStream client(*TcpStream::Connect(server.address()), ClientContext(), "a.test");
    ASSERT_TRUE(client.Handshake().ok());
    ASSERT_TRUE(client.Write(std::string(kSize, 'x')).ok());
    client.Close();
  }
  go_on = true;
  while (server.active() > 0) Yield();
  EXPECT_TRUE(end.ok()) << end;
  EXPECT_EQ(received, kSize);
}

GREENLET_TEST_F(TlsServerOverTcp, OneAcceptorDealsThemOutToHubs) {
  HubGroup hubs({.hubs = 2, .pin = false});
  const TlsServerContext context = ServerContext();
  auto servers =
      ServerGroup::DealTo(hubs, *TcpListener::Listen(Address::Loopback(0)),
                          [context](DealtListener<TcpStream> dealt) {
                            return std::make_unique<StreamServer>(
                                TlsListener(std::move(dealt), context), [](TlsStream& s) {
                                  EXPECT_TRUE(s.Write(ThisHub().name()).ok());
                                  Echo(s);
                                });
                          });
  ASSERT_TRUE(servers.ok()) << servers.status();
  const Address address = *Address::Parse((*servers)->description());
  std::set<std::string> seen;
  std::vector<TlsStream> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back(*TcpStream::Connect(address), ClientContext(), "a.test");
    seen.insert(ReadSome(clients.back()));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"hub-0", "hub-1"}));
  EXPECT_EQ((*servers)->Stop(absl::Seconds(60)).finished, 4u);
  hubs.Drain();
}

}  // namespace
}  // namespace grove::net
