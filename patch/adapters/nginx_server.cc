#include "grove/patch/adapters/nginx_server.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "grove/green/os/run.h"

namespace grove::patch {

NginxServer::NginxServer(const std::string& body)
    : folder_(EmptyFolder("nginx")),
      certificate_(folder_ + "/cert.pem"),
      plain_(FreePort()),
      secure_(FreePort()) {
  EXPECT_TRUE(
      CheckOutput({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                   "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                   "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
                   folder_ + "/key.pem", "-out", certificate_},
                  {.process = {.err = Stdio::Null()}})
          .ok());
  std::ofstream(folder_ + "/file") << body;
  std::ofstream(folder_ + "/nginx.conf")
      << (geteuid() == 0 ? "user root; " : "")  // its other user may not exist here
      << "daemon off; master_process off; pid " << folder_ << "/pid;\n"
      << "error_log stderr notice;\n"
      << "events { worker_connections 2048; }\n"
      << "http { access_log off; root " << folder_ << ";\n"
      << "client_body_temp_path " << folder_ << "/b; proxy_temp_path " << folder_
      << "/p;\n"
      << "fastcgi_temp_path " << folder_ << "/f; uwsgi_temp_path " << folder_ << "/u;\n"
      << "scgi_temp_path " << folder_ << "/s;\n"
      << "server { listen 127.0.0.1:" << plain_ << " backlog=4096;\n"
      << "listen 127.0.0.1:" << secure_ << " ssl http2 backlog=4096; ssl_certificate "
      << certificate_ << "; ssl_certificate_key " << folder_ << "/key.pem; } }\n";
  server_ = std::make_unique<RealServer>(
      std::vector<std::string>{"/usr/sbin/nginx", "-c", folder_ + "/nginx.conf"},
      "event method");
}

NginxServer::~NginxServer() {
  server_.reset();
  std::filesystem::remove_all(folder_);
}

std::string NginxServer::plain_url() const {
  return "http://127.0.0.1:" + std::to_string(plain_) + "/file";
}

std::string NginxServer::secure_url() const {
  return "https://localhost:" + std::to_string(secure_) + "/file";
}

}  // namespace grove::patch
