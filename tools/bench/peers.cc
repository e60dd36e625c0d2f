#include "tools/bench/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

bool Connects(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(port);
  const bool connected =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

}  // namespace

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  if (!bound) throw BenchError("no free port");
  return ntohs(address.sin_port);
}

void AwaitListening(int port, const std::string& who) {
  const absl::Time until = absl::Now() + absl::Seconds(10);
  while (!Connects(port)) {
    if (absl::Now() > until) throw BenchError(who + " does not listen");
    absl::SleepFor(absl::Milliseconds(10));
  }
}

Certificate::Certificate() {
  char name[] = "/tmp/grove_bench_XXXXXX";
  if (mkdtemp(name) == nullptr) throw BenchError("no temporary folder");
  folder_ = name;
  Process openssl(
      {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
       "-nodes", "-days", "2", "-subj", "/CN=bench", "-keyout", key(), "-out", chain()},
      {.capture_stderr = true});
  const std::string output = openssl.ReadAll(absl::Seconds(20));
  if (openssl.Wait(absl::Seconds(5)) != 0) throw BenchError("openssl: " + output);
}

Certificate::~Certificate() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace grove::bench
