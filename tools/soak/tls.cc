#include "grove/net/tls.h"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/types/span.h"
#include "grove/net/connection_pool.h"
#include "grove/net/copy.h"
#include "grove/net/testing/memory_stream.h"
#include "grove/net/testing/tls_certificates.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

struct Contexts {
  net::TlsClientContext client;
  net::TlsServerContext server;

  static const Contexts& Get() {
    static const Contexts* const contexts = new Contexts(Make());
    return *contexts;
  }
  static Contexts Make() {
    const net::TestAuthority authority;
    return {
        *net::TlsClientContext::Make({.system_roots = false, .roots = authority.root()}),
        *net::TlsServerContext::Make(
            {.identities = {authority.Issue({.dns_names = {"a.test"}})}})};
  }
};

// Over connections that cut what is sent into pieces, and break at times.
void EchoByTls(Scene& s) {
  Crowd crowd(s);
  for (int i = 0; i < 2; ++i) {
    crowd.Add([&, breaks = s.lots.OneIn(3), size = 1 + s.lots.Below(40'000),
               rounds = s.Rounds()] {
      net::MemoryStreamOptions options = {.seed = s.lots.Next()};
      if (breaks) options.fault_after = s.lots.Below(100'000);
      net::MemoryStreamPair pair(options);
      net::TlsStream server(std::move(pair.far), Contexts::Get().server);
      ++s.world().summary.greenlets;
      // A handshake may take too long, for one side only: the other has to hear of it.
      const Greenlet<> echo = Spawn([&] {
        net::Copy(server, server).IgnoreError();
        server.Close();
      });
      const absl::Cleanup end = [&] {
        const Shield shield;
        echo.Kill();
      };
      net::TlsStream client(std::move(pair.near), Contexts::Get().client, "a.test");
      const std::string text(size, static_cast<char>('a' + s.lots.Below(26)));
      std::string back(size, ' ');
      for (int r = 0; r < rounds; ++r) {
        // What comes back is read meanwhile: else both sides might wait for room.
        // Who has not sent it all need not wait for its echo.
        const Greenlet<> write = Spawn([&] {
          if (!client.Write(text).ok()) client.Close();
        });
        const absl::Cleanup join = [&] {
          const Shield shield;
          write.Kill();
        };
        const bool read = client.ReadExactly(absl::MakeSpan(back)).ok();
        s.Check(!read || back == text, "what comes back is what was sent");
        if (!read) return;
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

void PooledConnections(Scene& s) {
  constexpr size_t kMost = 2;
  std::vector<net::MemoryStream> far_ends;
  net::ConnectionPool<net::MemoryStream> pool(
      {.connect = [&](Deadline) -> absl::StatusOr<net::MemoryStream> {
         s.Pause();
         if (s.lots.OneIn(8)) return absl::UnavailableError("");
         net::MemoryStreamPair pair;
         far_ends.push_back(std::move(pair.far));
         return std::move(pair.near);
       },
       .max_size = kMost});
  std::atomic<int> inside = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        auto lease = pool.Get(s.SoonOrNever());
        if (!lease.ok()) continue;
        const Inside in(s, inside, kMost, "more are lent than there are");
        s.Check((*lease)->Write("x").ok(), "what is lent is alive");
        s.Pause();
        if (s.lots.OneIn(8)) lease->Discard();
        // The server ends one that may be idle.
        if (s.lots.OneIn(8)) far_ends[s.lots.Below(far_ends.size())].Close();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  const net::ConnectionPoolStatistics statistics = pool.statistics();
  s.Check(statistics.idle == statistics.size && statistics.waiting == 0,
          "all that was lent is back");
}

}  // namespace

std::vector<Scenario> TlsScenarios() {
  return {{"tls", &EchoByTls}, {"connection_pool", &PooledConnections}};
}

}  // namespace grove::soak
