#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "grove/net/ares_resolver.h"
#include "grove/net/caching_resolver.h"
#include "grove/net/udp.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

// Says of each name that there is none: the question with other flags.
void SayNo(net::UdpSocket& socket) {
  char buffer[512];
  for (;;) {
    const auto d = socket.ReceiveFrom(absl::MakeSpan(buffer));
    if (!d.ok() || d->bytes < 12) continue;
    buffer[2] = '\x81';
    buffer[3] = '\x83';
    socket.SendTo({buffer, d->bytes}, d->peer).IgnoreError();
  }
}

void Names(Scene& s) {
  // The server's descriptor, and the resolver's.
  const Connections connections(s, 1);
  net::UdpSocket socket = *net::UdpSocket::Bind(net::Address::Loopback(0));
  const Greenlet<> server = Spawn([&] { SayNo(socket); });
  struct Finish {
    ~Finish() {
      const Shield shield;
      server.Kill();
    }
    const Greenlet<>& server;
  } finish{server};
  net::AresResolverOptions options;
  options.servers = {*socket.local_address()};
  options.search = std::vector<std::string>();
  options.timeout = absl::Seconds(30);
  options.hosts_file = options.resolv_conf = "";
  net::CachingResolver resolver(std::make_unique<net::AresResolver>(options),
                                {.max_entries = 1 + s.lots.Below(8)});
  Crowd crowd(s);
  for (int i = 0, n = s.Workers(); i < n; ++i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const std::string name = absl::StrCat("n", s.lots.Below(6), ".test");
        const Deadline deadline = s.SoonOrNever();
        const absl::Status found =
            resolver.LookupHost(name, {.deadline = deadline}).status();
        s.Check(absl::IsNotFound(found) ||
                    (!deadline.infinite() && absl::IsDeadlineExceeded(found)),
                "there is no such name");
        if (s.lots.OneIn(3)) resolver.Clear();
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

}  // namespace

std::vector<Scenario> NameScenarios() { return {{"names", &Names}}; }

}  // namespace grove::soak
