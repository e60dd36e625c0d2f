#ifndef GROVE_PATCH_ADAPTERS_POSTGRES_SERVER_H_
#define GROVE_PATCH_ADAPTERS_POSTGRES_SERVER_H_

#include <memory>
#include <string>

#include "grove/patch/adapters/real_server.h"

namespace grove::patch {

// PostgresServer
//
// A PostgreSQL of the distribution's, of its newest version, with an empty database
// "postgres" and a user "me", on a port of the loopback.
class PostgresServer {
 public:
  explicit PostgresServer(int max_connections);
  ~PostgresServer();

  bool ready() const { return server_ && server_->ready(); }
  const std::string& port() const { return port_; }
  // Where its own programs are: psql and others.
  const std::string& programs() const { return programs_; }

 private:
  std::string programs_, folder_, port_;
  std::unique_ptr<RealServer> server_;
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_ADAPTERS_POSTGRES_SERVER_H_
