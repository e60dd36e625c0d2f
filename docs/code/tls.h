#pragma once

// What the code in tls.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/net/server.h"
#include "grove/net/tls.h"
#include "grove/net/tls_listener.h"

namespace docs_tls {

using namespace grove;
using namespace grove::net;

void Serve(TlsStream& stream);
extern Address address;
extern TcpStream tcp;
extern TlsServerContext tls;

}  // namespace docs_tls
