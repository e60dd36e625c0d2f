#ifndef GROVE_PATCH_ADAPTERS_NGINX_SERVER_H_
#define GROVE_PATCH_ADAPTERS_NGINX_SERVER_H_

#include <memory>
#include <string>

#include "grove/patch/adapters/real_server.h"

namespace grove::patch {

// NginxServer
//
// The distribution's nginx with one file, on two ports of the loopback: by HTTP/1.1, and
// by TLS with HTTP/2 for who can do that. It takes 2,000 connections at once.
class NginxServer {
 public:
  explicit NginxServer(const std::string& body);
  ~NginxServer();

  bool ready() const { return server_ && server_->ready(); }
  int secure_port() const { return secure_; }
  // Where the file of its certificate is, which is for "localhost".
  const std::string& certificate() const { return certificate_; }
  std::string plain_url() const;
  std::string secure_url() const;

 private:
  const std::string folder_;
  const std::string certificate_;
  const int plain_;
  const int secure_;
  std::unique_ptr<RealServer> server_;
};

}  // namespace grove::patch

#endif  // GROVE_PATCH_ADAPTERS_NGINX_SERVER_H_
