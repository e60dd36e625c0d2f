#include "grove/net/server_group.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/tcp.h"
#include "grove/net/unix.h"

namespace grove::net {
namespace {

// Says which hub it is on, then echoes.
void EchoWithHub(Stream& stream) {
  if (!stream.Write(ThisHub().name() + "\n").ok()) return;
  char buffer[100];
  for (;;) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0) return;
    if (!stream.Write({buffer, *n}).ok()) return;
  }
}

std::string ReadLine(Stream& stream) {
  std::string rest;
  const absl::StatusOr<std::string> line =
      stream.ReadUntil("\n", rest, 1000, absl::Seconds(30));
  return line.ok() ? line->substr(0, line->size() - 1) : line.status().ToString();
}

class ServerGroupTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(), .loop_exit = LoopExitPolicy::kNever};
  }
  void SetUp() override { hubs_.emplace(HubGroupOptions{.hubs = 3, .pin = false}); }
  void TearDown() override {
    hubs_->Drain();
    hubs_.reset();
  }

  std::optional<HubGroup> hubs_;
};

GREENLET_TEST_F(ServerGroupTest, EachHubHasAListenerAtTheSameAddress) {
  auto servers = ServerGroup::Listen(*hubs_, Address::Loopback(0), &EchoWithHub);
  ASSERT_TRUE(servers.ok()) << servers.status();
  std::set<std::string> seen;
  std::vector<TcpStream> clients;
  // The kernel spreads them by a hash of the ports.
  while (seen.size() < 3 && clients.size() < 500) {
    clients.push_back(*TcpStream::Connect((*servers)->address()));
    seen.insert(ReadLine(clients.back()));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"hub-0", "hub-1", "hub-2"}));
  EXPECT_EQ((*servers)->statistics().accepted, clients.size());
  EXPECT_EQ((*servers)->statistics().active, clients.size());
  const StopReport report = (*servers)->Stop(absl::Seconds(60));
  EXPECT_EQ(report.finished, clients.size());
  EXPECT_EQ(report.cut, 0u);
  EXPECT_EQ(ErrnoOf(TcpStream::Connect((*servers)->address()).status()), ECONNREFUSED);
  EXPECT_EQ((*servers)->statistics().accepted, clients.size());
}

// A deadline of who starts or stops it ends the call, and neither the servers nor the
// stop.
GREENLET_TEST_F(ServerGroupTest, DeadlinesOfTheCallerAreNotTheServers) {
  std::atomic<bool> enough{false};
  std::unique_ptr<ServerGroup> servers;
  for (absl::Duration time = absl::Milliseconds(100); !servers; time *= 2) {
    const absl::Status begun = WithDeadline(time, [&] {
      servers = *ServerGroup::Listen(*hubs_, Address::Loopback(0), [&](Stream& stream) {
        while (!enough) Sleep(absl::Milliseconds(1));
        stream.Write("served\n").IgnoreError();
      });
      Sleep(absl::Hours(1));
    });
    EXPECT_FALSE(begun.ok());
  }
  TcpStream client = *TcpStream::Connect(servers->address());
  while (servers->statistics().active == 0) Sleep(absl::Milliseconds(1));
  const absl::Status stopped =
      WithDeadline(absl::Milliseconds(10), [&] { servers->Stop(absl::Seconds(60)); });
  EXPECT_FALSE(stopped.ok());
  enough = true;
  EXPECT_EQ(ReadLine(client), "served");
  const StopReport report = servers->Stop(absl::Seconds(60));
  EXPECT_EQ(report.finished, 1u);
  EXPECT_EQ(report.cut, 0u);
  EXPECT_EQ(servers->statistics().active, 0u);
}

// As all greenlets of a hub are at its end: the servers, on other hubs, end before it
// does.
GREENLET_TEST_F(ServerGroupTest, AStopWhoseGreenletIsKilledIsDoneByTheOthers) {
  auto servers = *ServerGroup::Listen(*hubs_, Address::Loopback(0), &EchoWithHub);
  TcpStream client = *TcpStream::Connect(servers->address());
  EXPECT_EQ(ReadLine(client).substr(0, 4), "hub-");
  const Greenlet<> stops = Spawn([&] { servers->Stop(absl::Seconds(60)); });
  Yield();
  std::vector<AnyGreenlet> all;
  green_internal::Scheduler::Get().ForEach([&](green_internal::Core* core) {
    const AnyGreenlet g = AnyGreenlet::FromCore(core, true);
    if (g.id() != CurrentGreenlet().id()) all.push_back(g);
  });
  ASSERT_GE(all.size(), 2u);
  for (const AnyGreenlet& g : all) g.KillSoon();
  servers->Stop(absl::ZeroDuration());
  EXPECT_EQ(servers->statistics().active, 0u);
  servers.reset();
}

GREENLET_TEST_F(ServerGroupTest, AnAddressInUseIsAnErrorAndLeavesNothing) {
  TcpListener taken = *TcpListener::Listen(Address::Loopback(0));
  auto servers = ServerGroup::Listen(*hubs_, taken.address(), &EchoWithHub);
  EXPECT_EQ(ErrnoOf(servers.status()), EADDRINUSE);
}

GREENLET_TEST_F(ServerGroupTest, AFactoryThatFailsLeavesNothing) {
  const auto servers = ServerGroup::Start(
      *hubs_, [](int hub) -> absl::StatusOr<std::unique_ptr<StreamServer>> {
        if (hub == 2) return absl::InternalError("no third");
        return std::make_unique<StreamServer>(*TcpListener::Listen(Address::Loopback(0)),
                                              &EchoWithHub);
      });
  EXPECT_EQ(servers.status(), absl::InternalError("no third"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(hubs_->load(i), 0u);
}

GREENLET_TEST_F(ServerGroupTest, OneAcceptorDealsConnectionsOutEvenly) {
  auto servers =
      ServerGroup::Deal(*hubs_, *TcpListener::Listen(Address::Loopback(0)), &EchoWithHub);
  ASSERT_TRUE(servers.ok()) << servers.status();
  const Address address = *Address::Parse((*servers)->description());
  std::vector<TcpStream> clients;
  for (int i = 0; i < 30; ++i) {
    clients.push_back(*TcpStream::Connect(address));
    ReadLine(clients.back());
  }
  for (const StreamServerStatistics& s : (*servers)->statistics_by_hub()) {
    EXPECT_EQ(s.active, 10u);
  }
  // Those of one hub leave: it gets the next ones.
  std::vector<TcpStream> others;
  for (int i = 0; i < 30; i += 3) clients[i].Close();
  while ((*servers)->statistics().active != 20) Yield();
  for (int i = 0; i < 10; ++i) {
    others.push_back(*TcpStream::Connect(address));
    ReadLine(others.back());
  }
  for (const StreamServerStatistics& s : (*servers)->statistics_by_hub()) {
    EXPECT_EQ(s.active, 10u);
  }
  EXPECT_EQ((*servers)->Stop(absl::Seconds(60)).finished, 30u);
}

GREENLET_TEST_F(ServerGroupTest, AUnixServerUsesAllHubs) {
  UnixListener listener = *UnixListener::Listen(UnixAddress());
  const UnixAddress address = listener.address();
  auto servers = ServerGroup::Deal(*hubs_, std::move(listener), &EchoWithHub);
  ASSERT_TRUE(servers.ok()) << servers.status();
  std::set<std::string> seen;
  std::vector<UnixStream> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(*UnixStream::Connect(address));
    seen.insert(ReadLine(clients.back()));
  }
  EXPECT_EQ(seen.size(), 3u);
}

// While the hubs have as many as they may, the rest waits in the backlog, and none gets
// lost.
GREENLET_TEST_F(ServerGroupTest, HubsThatAreFullHoldUpTheDealer) {
  auto servers = ServerGroup::Deal(*hubs_, *TcpListener::Listen(Address::Loopback(0)),
                                   &EchoWithHub, {.max_connections = 2});
  ASSERT_TRUE(servers.ok()) << servers.status();
  const Address address = *Address::Parse((*servers)->description());
  std::vector<TcpStream> clients;
  for (int i = 0; i < 300; ++i) clients.push_back(*TcpStream::Connect(address));
  std::vector<Greenlet<>> readers;
  for (TcpStream& c : clients) {
    readers.push_back(Spawn([&c] {
      EXPECT_EQ(ReadLine(c).substr(0, 4), "hub-");
      c.Close();
    }));
  }
  for (const Greenlet<>& r : readers) r.Join();
  EXPECT_EQ((*servers)->statistics().accepted, 300u);
}

GREENLET_TEST_F(ServerGroupTest, WhilePausedNobodyIsAccepted) {
  auto servers =
      ServerGroup::Deal(*hubs_, *TcpListener::Listen(Address::Loopback(0)), &EchoWithHub);
  const Address address = *Address::Parse((*servers)->description());
  (*servers)->PauseAccepting();
  TcpStream client = *TcpStream::Connect(address);
  Yield();
  EXPECT_EQ((*servers)->statistics().accepted, 0u);
  (*servers)->ResumeAccepting();
  EXPECT_EQ(ReadLine(client).substr(0, 4), "hub-");
}

GREENLET_TEST_F(ServerGroupTest, SeveralMayStopItAndWaitForTheSame) {
  auto servers = ServerGroup::Listen(*hubs_, Address::Loopback(0), &EchoWithHub);
  TcpStream client = *TcpStream::Connect((*servers)->address());
  ReadLine(client);
  const Greenlet<absl::Status> waiter = Spawn([&] { return (*servers)->Wait(); });
  const auto stop = [&] { return (*servers)->Stop(absl::Seconds(60)).finished; };
  const Greenlet<size_t> a = Spawn(stop);
  const Greenlet<size_t> b = Spawn(stop);
  EXPECT_EQ(*a.Get(), 1u);
  EXPECT_EQ(*b.Get(), 1u);
  EXPECT_TRUE(waiter.Get().ok());
}

GREENLET_TEST_F(ServerGroupTest, HubsThatAreDrainedFirstEndTheirServers) {
  auto servers = ServerGroup::Listen(*hubs_, Address::Loopback(0), &EchoWithHub);
  TcpStream client = *TcpStream::Connect((*servers)->address());
  ReadLine(client);
  hubs_->Drain(absl::ZeroDuration());
  EXPECT_EQ((*servers)->Stop(absl::Seconds(60)).finished, 0u);
  EXPECT_EQ((*servers)->statistics().accepted, 1u);
}

// A service under load is told to stop: each request that has reached a handler is
// answered, and the answer arrives, whole.
GREENLET_TEST_F(ServerGroupTest, AStopUnderLoadLosesNoAcceptedRequest) {
  std::atomic<int> taken{0};
  auto servers =
      ServerGroup::Listen(*hubs_, Address::Loopback(0), [&taken](TcpStream& s) {
        char buffer[7];
        while (s.ReadExactly(absl::MakeSpan(buffer)).ok()) {
          ++taken;
          Yield();
          if (!s.Write({buffer, 7}).ok()) return;
        }
      });
  ASSERT_TRUE(servers.ok()) << servers.status();
  const Address address = (*servers)->address();
  int answered = 0;
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(Spawn([&] {
      for (;;) {
        absl::StatusOr<TcpStream> s = TcpStream::Connect(address);
        if (!s.ok() || !s->Write("request").ok()) return;
        char buffer[7];
        const absl::Status answer =
            s->ReadExactly(absl::MakeSpan(buffer), absl::Seconds(30));
        EXPECT_EQ(BytesMoved(answer), 0u) << answer;
        answered += answer.ok();
      }
    }));
  }
  while (answered < 500) Yield();
  const StopReport report = (*servers)->Stop(absl::Seconds(60));
  for (const Greenlet<>& c : clients) c.Join();
  EXPECT_EQ(report.cut, 0u);
  EXPECT_EQ(answered, taken);
}

}  // namespace
}  // namespace grove::net
