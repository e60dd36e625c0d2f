#include "grove/net/http/server.h"

namespace grove::http {

absl::Status HttpServer::Serve() {
  Start();
  return server_.Serve();
}

net::StopReport HttpServer::Stop(absl::Duration grace) {
  core_.Drain();
  return server_.Stop(grace);
}

}  // namespace grove::http
