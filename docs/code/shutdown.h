#pragma once

// What the code in shutdown.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/shutdown.h"
#include "grove/net/server.h"

namespace docs_shutdown {

namespace net = grove::net;

void Handle(net::TcpStream& stream);
extern net::Address address;
extern grove::HubGroup workers;

}  // namespace docs_shutdown
