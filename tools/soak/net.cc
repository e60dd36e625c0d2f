#include <string>
#include <vector>

#include "absl/types/span.h"
#include "grove/net/copy.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void Echo(Scene& s) {
  constexpr int kClients = 3;
  // Two descriptors for each, and the listener.
  if (!s.world().connections.acquire(kClients + 1, Deadline())) return;
  struct Release {
    ~Release() { world.connections.release(kClients + 1); }
    World& world;
  } release{s.world()};
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

}  // namespace

std::vector<Scenario> NetScenarios() { return {{"tcp", &Echo}}; }

}  // namespace grove::soak
