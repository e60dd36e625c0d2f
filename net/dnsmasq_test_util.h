#ifndef GROVE_NET_DNSMASQ_TEST_UTIL_H_
#define GROVE_NET_DNSMASQ_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/os/subprocess.h"
#include "grove/net/udp.h"

namespace grove::net {

// Dnsmasq
//
// A real name server on loopback, which knows what it is told, and asks nobody.
class Dnsmasq {
 public:
  // At a port that is free, or at this one.
  explicit Dnsmasq(std::vector<std::string> options, uint16_t port = 0) {
    const bool any_port = port == 0;
    do {
      if (any_port) port = UdpSocket::Bind(Address::Loopback(0))->local_address()->port();
      Start(options, port);
      // Somebody else may have taken it meanwhile.
    } while (any_port && !server_ && log_.find("Address already in use") != log_.npos);
    if (!server_) ADD_FAILURE() << "dnsmasq does not start: " << log_;
    address_ = Address::Loopback(port);
  }
  ~Dnsmasq() {
    if (!server_) return;
    server_->Kill().IgnoreError();
    server_->Wait().IgnoreError();
  }

  const Address& address() const { return address_; }

 private:
  void Start(const std::vector<std::string>& options, uint16_t port) {
    const std::string nothing = testing::TempDir() + "/dnsmasq.conf";
    std::ofstream(nothing).close();
    // In the foreground, and as whom it is started: a sandbox has no other users.
    std::vector<std::string> argv = {
        "dnsmasq",
        "--no-daemon",
        "--no-resolv",
        "--no-hosts",
        absl::StrCat("--conf-file=", nothing),
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        absl::StrCat("--port=", port),
    };
    argv.insert(argv.end(), options.begin(), options.end());
    absl::StatusOr<Subprocess> server = Subprocess::Start(
        argv, {.in = Stdio::Null(),
               .out = Stdio::Null(),
               .err = Stdio::Pipe(),
               .extra_env = {{"PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}}});
    if (!server.ok()) GTEST_FAIL() << server.status() << ": is dnsmasq-base installed?";
    // It says so once it listens.
    log_.clear();
    char buffer[1000];
    for (;;) {
      const absl::StatusOr<size_t> n = server->err().Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) {
        server->Wait().IgnoreError();
        return;
      }
      log_.append(buffer, *n);
      if (log_.find("started, version") != log_.npos) break;
    }
    server_ = *std::move(server);
  }

  std::optional<Subprocess> server_;
  Address address_;
  std::string log_;
};

}  // namespace grove::net

#endif  // GROVE_NET_DNSMASQ_TEST_UTIL_H_
