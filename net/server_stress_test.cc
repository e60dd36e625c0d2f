#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"

namespace grove::net {
namespace {

constexpr int kClients = 50;
constexpr int kRounds = 40;
constexpr int kWays = 8;

class ServerStress : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }

  // Answers 8 bytes by 1,000; '!' is a bad request.
  static void Serve(TcpStream& stream) {
    char buffer[8];
    while (stream.ReadExactly(absl::MakeSpan(buffer)).ok()) {
      if (buffer[0] == '!') throw std::runtime_error("bad request");
      if (!stream.Write(std::string(1000, 'x')).ok()) return;
    }
  }

  // Goes at one of the states of a connection, in one of the ways.
  static void Play(const Address& address, int way) {
    absl::StatusOr<TcpStream> s = TcpStream::Connect(address);
    ASSERT_TRUE(s.ok()) << s.status();
    char buffer[1000];
    switch (way) {
      case 0:  // connected
        return s->Abort();
      case 1:
        return;
      case 2:  // in the midst of a request
        (void)s->Write("1234");
        return s->Abort();
      case 3:
        (void)s->Write("1234");
        return;
      case 4:  // before the answer
        (void)s->Write("12345678");
        return s->Abort();
      case 5:  // in the midst of it
        (void)s->Write("12345678");
        (void)s->Read(absl::MakeSpan(buffer, 10));
        return s->Abort();
      case 6:  // at the end of the requests
        (void)s->Write("12345678");
        (void)s->ShutdownWrite();
        EXPECT_TRUE(s->ReadExactly(absl::MakeSpan(buffer)).ok());
        EXPECT_EQ(*s->Read(absl::MakeSpan(buffer)), 0u);
        return;
      default:  // the handler fails
        (void)s->Write("!2345678");
        EXPECT_EQ(s->Read(absl::MakeSpan(buffer)).value_or(0), 0u);
    }
  }
};

// All end, and no descriptor is left, which the fixture looks at.
GREENLET_TEST_F(ServerStress, ThousandsThatEndInEachStateLeaveNothing) {
  int reported = 0;
  SetErrorHandler([&](const UnhandledException&) { ++reported; });
  StreamServer server(*TcpListener::Listen(Address::Loopback(0)), &Serve,
                      {.max_connections = 30, .max_per_peer = 1000});
  server.Start();
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Spawn([&, i] {
      for (int n = 0; n < kRounds; ++n) Play(server.address(), (i + n) % kWays);
    }));
  }
  for (const Greenlet<>& c : clients) c.Join();
  // A client that went at once may still be in the backlog, of which Stop() takes only
  // what there are slots for. A backlog is first in, first out (listen(2)): when this one
  // is answered, all before it were accepted.
  Play(server.address(), 6);
  EXPECT_EQ(server.Stop(absl::Hours(1)).cut, 0u);
  EXPECT_EQ(server.accepted(), static_cast<uint64_t>(kClients) * kRounds + 1);
  EXPECT_EQ(server.active(), 0u);
  EXPECT_EQ(server.statistics().refused, 0u);
  EXPECT_EQ(reported, kClients * kRounds / kWays);
}

}  // namespace
}  // namespace grove::net
