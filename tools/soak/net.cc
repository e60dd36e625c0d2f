#include <string>
#include <vector>

#include "absl/types/span.h"
#include "grove/net/copy.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void Echo(Scene& s) {
  constexpr int kClients = 3;
  // Two descriptors for each, and the listener.
  const Connections connections(s, kClients + 1);
  auto listener = net::TcpListener::Listen(*net::Address::FromIp("127.0.0.1", 0));
  s.Check(listener.ok(), "there is a listener");
  if (!listener.ok()) return;
  net::StreamServer server(*std::move(listener), [](net::TcpStream& stream) {
    net::Copy(stream, stream).IgnoreError();
  });
  server.Start();
  Crowd crowd(s);
  for (int i = 0; i < kClients; ++i) {
    crowd.Add([&, size = 1 + s.lots.Below(20'000), rounds = s.Rounds()] {
      auto stream = net::TcpStream::Connect(server.address());
      s.Check(stream.ok(), "a client connects");
      if (!stream.ok()) return;
      const std::string text(size, static_cast<char>('a' + s.lots.Below(26)));
      std::string back(size, ' ');
      for (int r = 0; r < rounds; ++r) {
        s.Check(stream->Write(text).ok(), "a client writes");
        s.Check(stream->ReadExactly(absl::MakeSpan(back)).ok(), "a client reads");
        s.Check(back == text, "what comes back is what was sent");
        s.Pause();
      }
      // Who does this does not occupy a port for a minute.
      stream->Abort();
    });
  }
  crowd.Stir();
  crowd.Join();
  server.Stop(absl::Minutes(5));
  s.Check(server.active() == 0, "no connection is left");
}

// One end echoes; at the other one greenlet writes while another reads.
void UnixPair(Scene& s) {
  const Connections connections(s, 1);
  auto pair = net::UnixStream::Pair();
  s.Check(pair.ok(), "there is a pair");
  if (!pair.ok()) return;
  net::UnixStream& here = pair->first;
  net::UnixStream& there = pair->second;
  const Greenlet<> echo = Spawn([&] { net::Copy(there, there).IgnoreError(); });
  struct Finish {
    ~Finish() {
      const Shield shield;
      here.Abort();
      echo.Join();
    }
    net::UnixStream& here;
    const Greenlet<>& echo;
  } finish{here, echo};
  Crowd crowd(s);
  crowd.Add([&, size = 1 + s.lots.Below(100'000), rounds = s.Rounds()] {
    const std::string text(size, 'x');
    std::string back(size, ' ');
    for (int r = 0; r < rounds; ++r) {
      const Greenlet<bool> writes = Spawn([&] { return here.Write(text).ok(); });
      struct Join {
        ~Join() {
          const Shield shield;
          writes.Kill();
        }
        const Greenlet<bool>& writes;
      } join{writes};
      s.Check(here.ReadExactly(absl::MakeSpan(back)).ok(), "an end reads");
      s.Check(back == text, "what comes back is what was sent");
    }
  });
  crowd.Stir();
  crowd.Join();
}

void Datagrams(Scene& s) {
  constexpr int kSockets = 2;
  const Connections connections(s, kSockets);
  auto server = net::UdpSocket::Bind(net::Address::Loopback(0));
  s.Check(server.ok(), "there is a socket");
  if (!server.ok()) return;
  auto client = net::UdpSocket::Connect(*server->local_address());
  s.Check(client.ok(), "there is another");
  if (!client.ok()) return;
  int sent = 0;
  int received = 0;
  Crowd crowd(s);
  for (const bool sends : {true, false}) {
    crowd.Add([&, sends, rounds = 2 * s.Rounds()] {
      char buffer[64];
      for (int r = 0; r < rounds; ++r) {
        if (sends) {
          if (client->Send("datagram", s.SoonOrNever()).ok()) ++sent;
        } else {
          const auto got = server->ReceiveFrom(absl::MakeSpan(buffer),
                                               absl::Microseconds(s.lots.Below(3000)));
          if (got.ok()) ++received;
          s.Check(got.ok() ? got->bytes == 8 && got->peer == *client->local_address()
                           : absl::IsDeadlineExceeded(got.status()),
                  "what comes is what was sent");
        }
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(s.kills() || received <= sent, "none comes twice");
}

}  // namespace

std::vector<Scenario> NetScenarios() {
  return {{"tcp", &Echo}, {"unix", &UnixPair}, {"udp", &Datagrams}};
}

}  // namespace grove::soak
