#ifndef GROVE_EXAMPLES_LISTEN_H_
#define GROVE_EXAMPLES_LISTEN_H_

#include <string>

#include "grove/net/tcp.h"

namespace grove::examples {

// Listens at the address that the flag --listen says. One that is none, or cannot be had,
// is one line on stderr and exit status 2.
net::TcpListener ListenAt(const std::string& flag);

}  // namespace grove::examples

#endif  // GROVE_EXAMPLES_LISTEN_H_
