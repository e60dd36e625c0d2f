#include "grove/patch/adapters/real_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "grove/green/os/run.h"

namespace grove::patch {

int FreePort() {
  // None of those that the system gives out by itself: of these, another test's
  // connection may have it before who is to listen there does.
  int first = 0, last = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first >> last;
  std::random_device random;
  std::uniform_int_distribution<int> any(10'000, 65'535);
  for (int tries = 0; tries < 1000; ++tries) {
    const int port = any(random);
    if (port >= first && port <= last) continue;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const bool bound =
        bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    close(fd);
    if (bound) return port;
  }
  ADD_FAILURE() << "no port is free outside of ip_local_port_range, " << first << " to "
                << last;
  return 0;
}

std::string EmptyFolder(absl::string_view name) {
  std::string path = absl::StrCat(::testing::TempDir(), "/", name, ".XXXXXX");
  EXPECT_NE(mkdtemp(path.data()), nullptr) << path;
  return path;
}

std::vector<std::string> NotAsRoot(absl::string_view user) {
  if (geteuid() != 0) return {};
  const passwd* entry = getpwnam(std::string(user).c_str());
  EXPECT_NE(entry, nullptr) << "there is no user '" << user << "'";
  if (entry == nullptr) return {};
  return {"unshare", "--user", absl::StrCat("--map-user=", entry->pw_uid),
          absl::StrCat("--map-group=", entry->pw_gid)};
}

RealServer::RealServer(std::vector<std::string> command, absl::string_view ready)
    : process_(Subprocess::Start(
          command, {.in = Stdio::Null(), .out = Stdio::Pipe(), .err = Stdio::Stdout()})) {
  if (!process_.ok()) {
    ADD_FAILURE() << process_.status();
    return;
  }
  std::string said;
  std::vector<char> buffer(4096);
  const Deadline deadline = absl::Seconds(60);
  while (said.find(std::string(ready)) == std::string::npos) {
    const absl::StatusOr<size_t> n =
        process_->out().Read(absl::MakeSpan(buffer), deadline);
    if (!n.ok() || *n == 0) {
      ADD_FAILURE() << absl::StrJoin(command, " ") << " does not get ready: "
                    << (n.ok() ? "it has ended" : n.status().ToString()) << "\n"
                    << said;
      return;
    }
    said.append(buffer.data(), *n);
  }
  ready_ = true;
  drain_ = Spawn({.name = "server's output"}, [this] {
    std::vector<char> rest(4096);
    for (;;) {
      const absl::StatusOr<size_t> n = process_->out().Read(absl::MakeSpan(rest));
      if (!n.ok() || *n == 0) return;
    }
  });
}

RealServer::~RealServer() {
  if (!process_.ok()) return;
  process_->Terminate().IgnoreError();
  const absl::StatusOr<ExitStatus> ended = process_->Wait(absl::Seconds(30));
  if (!ended.ok()) {
    process_->Kill().IgnoreError();
    process_->Wait().IgnoreError();
    ADD_FAILURE() << "a server does not end: " << ended.status();
  }
  if (drain_) drain_.Join();
}

}  // namespace grove::patch
