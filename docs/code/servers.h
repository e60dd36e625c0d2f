#pragma once

// What the code in servers.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/net/buffered_stream.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_listener.h"
#include "grove/net/tls.h"

namespace docs_servers {

using namespace grove;
using namespace grove::net;

// Sends back what it reads.
inline void Serve(Stream& stream) {
  char buffer[64];
  for (;;) {
    absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0 || !stream.Write({buffer, *n}).ok()) return;
  }
}

std::string Answer(absl::string_view request);
absl::Status Query(TcpStream& stream);
inline absl::Status Ask(Stream& stream) { return stream.Write("x"); }

extern Address address;
extern Address db;
extern TcpStream stream;

}  // namespace docs_servers
