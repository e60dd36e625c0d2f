#include "grove/net/datagram_server.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"

namespace grove::net {
namespace {

// On the real clock: nothing here waits for time but for guards.
class DatagramServerTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }

  static UdpSocket Bind() { return *UdpSocket::Bind(Address::Loopback(0)); }
  static UdpSocket Client(DatagramServer& server) {
    return *UdpSocket::Connect(*server.sender().socket().local_address());
  }
  static std::string Receive(UdpSocket& socket) {
    char buffer[1000];
    const auto d = socket.ReceiveFrom(absl::MakeSpan(buffer), absl::Seconds(30));
    return d.ok() ? std::string(buffer, d->bytes) : d.status().ToString();
  }
  static void Echo(absl::string_view data, const Address& peer,
                   DatagramServer::Sender& socket) {
    EXPECT_TRUE(socket.SendTo(data, peer).ok());
  }
};

GREENLET_TEST_F(DatagramServerTest, RunsAHandlerForEachDatagram) {
  DatagramServer server(Bind(), &Echo);
  server.Start();
  UdpSocket a = Client(server);
  UdpSocket b = Client(server);
  ASSERT_TRUE(a.Send("from a").ok());
  ASSERT_TRUE(b.Send("from b").ok());
  EXPECT_EQ(Receive(a), "from a");
  EXPECT_EQ(Receive(b), "from b");
  ASSERT_TRUE(a.Send("").ok());
  EXPECT_EQ(Receive(a), "");
  EXPECT_EQ(server.statistics().received, 3u);
}

GREENLET_TEST_F(DatagramServerTest, ASlowHandlerHoldsUpNobody) {
  bool go_on = false;
  DatagramServer server(Bind(), [&](absl::string_view data, const Address& peer,
                                    DatagramServer::Sender& socket) {
    while (data == "slow" && !go_on) Yield();
    Echo(data, peer, socket);
  });
  server.Start();
  UdpSocket client = Client(server);
  ASSERT_TRUE(client.Send("slow").ok());
  ASSERT_TRUE(client.Send("fast").ok());
  EXPECT_EQ(Receive(client), "fast");
  EXPECT_EQ(server.statistics().in_flight, 1u);
  go_on = true;
  EXPECT_EQ(Receive(client), "slow");
}

GREENLET_TEST_F(DatagramServerTest, WhatIsTooMuchIsDroppedAndCounted) {
  DatagramServer server(Bind(),
                        [](absl::string_view, const Address&, DatagramServer::Sender&) {
                          Sleep(absl::InfiniteDuration());
                        },
                        {.max_in_flight = 3});
  server.Start();
  UdpSocket client = Client(server);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.Send("x").ok());
  while (server.statistics().received < 10) Yield();
  EXPECT_EQ(server.statistics().in_flight, 3u);
  EXPECT_EQ(server.statistics().dropped, 7u);
  EXPECT_EQ(server.Stop().cut, 3u);
  EXPECT_EQ(server.statistics().in_flight, 0u);
}

GREENLET_TEST_F(DatagramServerTest, WhatIsTooLongIsCutOffAndCounted) {
  DatagramServer server(Bind(), &Echo, {.max_bytes = 4});
  server.Start();
  UdpSocket client = Client(server);
  ASSERT_TRUE(client.Send("123456").ok());
  EXPECT_EQ(Receive(client), "1234");
  EXPECT_EQ(server.statistics().truncated, 1u);
}

GREENLET_TEST_F(DatagramServerTest, AStopWithAGraceAnswersWhatHasArrived) {
  DatagramServer server(Bind(), &Echo, {.batch = 4});
  server.Start();
  Yield();  // it waits for the first
  UdpSocket client = Client(server);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.Send(std::to_string(i)).ok());
  EXPECT_EQ(server.statistics().received, 0u);
  EXPECT_EQ(server.Stop(absl::Seconds(60)).finished, 10u);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Receive(client), std::to_string(i));
  // Nobody is there any more.
  ASSERT_TRUE(client.Send("x").ok());
  char c;
  EXPECT_EQ(ErrnoOf(client.ReceiveFrom(absl::MakeSpan(&c, 1)).status()), ECONNREFUSED);
}

GREENLET_TEST_F(DatagramServerTest, TwoThatStopItBothWaitForWhatHasArrived) {
  int answered = 0;
  DatagramServer server(Bind(), [&](absl::string_view data, const Address& peer,
                                    DatagramServer::Sender& socket) {
    Sleep(absl::Seconds(1));
    Echo(data, peer, socket);
    ++answered;
  });
  server.Start();
  Yield();
  UdpSocket client = Client(server);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.Send("x").ok());
  const Greenlet<> first = Spawn([&] { server.Stop(absl::Seconds(60)); });
  const Greenlet<> second = Spawn([&] {
    server.Stop(absl::Seconds(60));
    EXPECT_EQ(answered, 3);
  });
  first.Join();
  second.Join();
}

GREENLET_TEST_F(DatagramServerTest, AnExceptionEndsItsHandlerAndNothingElse) {
  int reported = 0;
  SetErrorHandler([&](const UnhandledException&) { ++reported; });
  DatagramServer server(Bind(), [](absl::string_view data, const Address& peer,
                                   DatagramServer::Sender& socket) {
    if (data == "bad") throw std::runtime_error("bad");
    Echo(data, peer, socket);
  });
  server.Start();
  UdpSocket client = Client(server);
  ASSERT_TRUE(client.Send("bad").ok());
  ASSERT_TRUE(client.Send("good").ok());
  EXPECT_EQ(Receive(client), "good");
  EXPECT_EQ(reported, 1);
}

GREENLET_TEST_F(DatagramServerTest, WhilePausedDatagramsWait) {
  DatagramServer server(Bind(), &Echo);
  server.PauseReceiving();
  server.Start();
  UdpSocket client = Client(server);
  ASSERT_TRUE(client.Send("x").ok());
  for (int i = 0; i < 10; ++i) Yield();
  EXPECT_EQ(server.statistics().received, 0u);
  server.ResumeReceiving();
  EXPECT_EQ(Receive(client), "x");
}

GREENLET_TEST_F(DatagramServerTest, ThePauseOfOneThatWaitsForDatagramsHoldsAtOnce) {
  DatagramServer server(Bind(), &Echo);
  DatagramServer other(Bind(), &Echo);
  server.Start();
  other.Start();
  UdpSocket client = Client(server);
  UdpSocket witness = Client(other);
  const auto ask_the_other = [&] {
    ASSERT_TRUE(witness.Send("y").ok());
    EXPECT_EQ(Receive(witness), "y");
  };
  ask_the_other();  // both wait now
  server.PauseReceiving();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send("x").ok());
    ask_the_other();
  }
  EXPECT_EQ(server.statistics().received, 0u);
  server.ResumeReceiving();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Receive(client), "x");
}

GREENLET_TEST_F(DatagramServerTest, OfTwoStopsTheFirstKillCounts) {
  DatagramServer server(Bind(),
                        [](absl::string_view, const Address&, DatagramServer::Sender&) {
                          struct Slow {
                            ~Slow() {
                              const Shield shield;
                              for (int i = 0; i < 10; ++i) Yield();
                            }
                          } const slow;
                          Sleep(absl::InfiniteDuration());
                        });
  server.Start();
  UdpSocket client = Client(server);
  ASSERT_TRUE(client.Send("x").ok());
  while (server.statistics().in_flight == 0) Yield();
  const Greenlet<StopReport> patient = Spawn([&] { return server.Stop(absl::Hours(1)); });
  Yield();
  EXPECT_EQ(server.Stop().cut, 1u);
  EXPECT_EQ(patient.Get()->cut, 1u);
  EXPECT_EQ(patient.Get()->finished, 0u);
}

TEST(DatagramServerDeathTest, AHandlerThatStopsItsServerIsFatal) {
  EXPECT_DEATH(
      {
        const HubScope scope;
        DatagramServer server(*UdpSocket::Bind(Address::Loopback(0)),
                              [&](absl::string_view, const Address&,
                                  DatagramServer::Sender&) { server.Stop(); });
        server.Start();
        UdpSocket client = *UdpSocket::Connect(*server.sender().socket().local_address());
        client.Send("x").IgnoreError();
        Sleep(absl::Hours(1));
      },
      "datagram server is stopped by one of its handlers");
}

GREENLET_TEST_F(DatagramServerTest, ServeEndsByAStopByAKillAndByAFailure) {
  DatagramServer stopped(Bind(), &Echo);
  const Greenlet<absl::Status> a = Spawn([&] { return stopped.Serve(); });
  Yield();
  stopped.Stop();
  EXPECT_TRUE(a.Get().ok());

  DatagramServer killed(Bind(), &Echo);
  const Greenlet<absl::Status> b = Spawn([&] { return killed.Serve(); });
  Yield();
  b.Kill();
  EXPECT_TRUE(killed.sender().socket().closed());

  DatagramServer failed(Bind(), &Echo);
  const Greenlet<absl::Status> c = Spawn([&] { return failed.Serve(); });
  Yield();
  failed.sender().socket().Close();
  EXPECT_EQ(c.Get().code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(DatagramServerTest, StopWorksBeforeStartAndTwice) {
  DatagramServer server(Bind(), &Echo);
  server.Stop();
  server.Start();
  server.Stop(absl::Seconds(1));
  EXPECT_TRUE(server.sender().socket().closed());
}

// Handlers wait for one another to send, and none is a fatal error.
GREENLET_TEST_F(DatagramServerTest, ManyHandlersMaySendAtOnce) {
  DatagramServer server(
      Bind(), [](absl::string_view, const Address& peer, DatagramServer::Sender& socket) {
        for (int i = 0; i < 50; ++i) {
          EXPECT_TRUE(socket.SendTo(std::string(1000, 'x'), peer).ok());
        }
      });
  server.Start();
  UdpSocket client = Client(server);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client.Send("x").ok());
  while (server.statistics().received < 20 || server.statistics().in_flight > 0) Yield();
  EXPECT_EQ(server.Stop(absl::Seconds(60)).cut, 0u);
}

}  // namespace
}  // namespace grove::net
