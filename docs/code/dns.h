#pragma once

// What the code in dns.md takes for given.

#include "grove/net/ares_resolver.h"
#include "grove/net/caching_resolver.h"
#include "grove/net/default_resolver.h"
#include "grove/net/tcp.h"

namespace docs_dns {

using namespace grove;
using namespace grove::net;

absl::Status Use(TcpStream& stream);

}  // namespace docs_dns
