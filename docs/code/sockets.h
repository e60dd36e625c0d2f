#pragma once

// What the code in sockets.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/os/file.h"
#include "grove/net/copy.h"
#include "grove/net/multicast.h"
#include "grove/net/relay.h"
#include "grove/net/send_file.h"
#include "grove/net/socket_options.h"
#include "grove/net/tcp.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"
#include "grove/net/unix_datagram.h"

namespace docs_sockets {

using namespace grove;
using namespace grove::net;

void Log(absl::string_view text, pid_t pid, bool truncated);
void Answer(UdpSocket& socket, const DatagramBatch& batch);

extern TcpStream client;
extern TcpStream backend;
extern TcpStream stream;
extern TcpListener listener;
extern std::string path;
extern int a, b;

}  // namespace docs_sockets
