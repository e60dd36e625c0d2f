// A load for TLS servers: one thread, BoringSSL, and epoll where there are several
// connections. As echo_load.c, which says more; prints one line of JSON.
//
//   tls_load --port=7443 --server_pid=N --mode=echo --connections=100 --bytes=512
//   ... --mode=idle          one request on each connection; the server's memory
//   ... --mode=handshakes    full handshakes, one after the other
//   ... --mode=bulk          reads what the server sends

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
extern "C" {
#include "tools/bench/process_usage.h"
}

ABSL_FLAG(std::string, host, "127.0.0.1", "the server's address");
ABSL_FLAG(int, port, 0, "the server's port");
ABSL_FLAG(int, server_pid, 0, "the server's process");
ABSL_FLAG(std::string, mode, "echo", "echo, idle, handshakes or bulk");
ABSL_FLAG(int, connections, 1, "how many");
ABSL_FLAG(int, bytes, 512, "of a request");
ABSL_FLAG(double, warmup, 0.5, "seconds that are not counted");
ABSL_FLAG(double, seconds, 2, "seconds that are");

namespace {

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "tls_load: %s: %s\n", what, strerror(errno));
  ERR_print_errors_fp(stderr);
  exit(1);
}

double Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

SSL_CTX* Context() {
  static SSL_CTX* const context = [] {
    SSL_CTX* c = SSL_CTX_new(TLS_method());
    SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    return c;
  }();
  return context;
}

struct Connection {
  explicit Connection(int index) {
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) Fail("socket");
    const int on = 1;
    // Several source addresses, since one has but so many ports.
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = htonl(0x7f000002u + static_cast<uint32_t>(index / 2500));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0) Fail("bind");
    sockaddr_in server{};
    server.sin_family = AF_INET;
    server.sin_port = htons(static_cast<uint16_t>(absl::GetFlag(FLAGS_port)));
    inet_pton(AF_INET, absl::GetFlag(FLAGS_host).c_str(), &server.sin_addr);
    if (connect(fd, reinterpret_cast<sockaddr*>(&server), sizeof server) != 0) {
      Fail("connect");
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ssl = SSL_new(Context());
    SSL_set_fd(ssl, fd);
    SSL_set_shed_handshake_config(ssl, 1);
    if (SSL_connect(ssl) != 1) Fail("handshake");
  }
  Connection(const Connection&) = delete;
  ~Connection() {
    SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
  }

  int fd;
  SSL* ssl;
  size_t got = 0;
  bool answered = false;
};

// What the server has used from its beginning to its end.
class Usage {
 public:
  explicit Usage(double begin) : begin_(begin) {}
  void Print(double count) const {
    const int pid = absl::GetFlag(FLAGS_server_pid);
    const double seconds = Now() - begin_;
    printf(
        "{\"seconds\": %.6f, \"requests\": %.0f, \"requests_per_s\": %.1f, "
        "\"server_cpu_ns\": %lld}\n",
        seconds, count, count / seconds, static_cast<long long>(CpuNsOf(pid) - cpu_));
  }

 private:
  const double begin_;
  const int64_t cpu_ = CpuNsOf(absl::GetFlag(FLAGS_server_pid));
};

// --- several connections ---

class EchoLoad {
 public:
  EchoLoad() : request_(absl::GetFlag(FLAGS_bytes), 'x'), answer_(request_.size(), 0) {
    for (int i = 0; i < absl::GetFlag(FLAGS_connections); ++i) {
      connections_.push_back(std::make_unique<Connection>(i));
    }
    for (auto& c : connections_) {
      fcntl(c->fd, F_SETFL, O_NONBLOCK);
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.ptr = c.get();
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, c->fd, &e) != 0) Fail("epoll_ctl");
      Ask(*c);
    }
  }

  void Turn(bool once) {
    epoll_event events[512];
    const int n = epoll_wait(epoll_, events, 512, 100);
    for (int i = 0; i < n; ++i)
      Receive(*static_cast<Connection*>(events[i].data.ptr), once);
  }
  bool all_answered() const { return answered_once_ == connections_.size(); }
  uint64_t answers() const { return answers_; }

 private:
  void Ask(Connection& c) {
    if (SSL_write(c.ssl, request_.data(), static_cast<int>(request_.size())) <= 0) {
      Fail("write");
    }
  }
  void Receive(Connection& c, bool once) {
    const int n =
        SSL_read(c.ssl, answer_.data(), static_cast<int>(answer_.size() - c.got));
    if (n <= 0) {
      if (SSL_get_error(c.ssl, n) == SSL_ERROR_WANT_READ) return;
      Fail("read");
    }
    if (memcmp(answer_.data(), request_.data(), n) != 0) Fail("other bytes came back");
    c.got += n;
    if (c.got < request_.size()) return;
    c.got = 0;
    ++answers_;
    if (!c.answered) {
      c.answered = true;
      ++answered_once_;
    }
    if (!once) Ask(c);
  }

  const std::string request_;
  std::string answer_;
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<std::unique_ptr<Connection>> connections_;
  size_t answered_once_ = 0;
  uint64_t answers_ = 0;
};

void RunEcho() {
  EchoLoad load;
  const double begin = Now() + absl::GetFlag(FLAGS_warmup);
  while (Now() < begin || !load.all_answered()) load.Turn(false);
  const uint64_t before = load.answers();
  const Usage usage(Now());
  const double end = Now() + absl::GetFlag(FLAGS_seconds);
  while (Now() < end) load.Turn(false);
  usage.Print(static_cast<double>(load.answers() - before));
}

void RunIdle() {
  const int pid = absl::GetFlag(FLAGS_server_pid);
  const int64_t before = RssKibOf(pid);
  EchoLoad load;
  while (!load.all_answered()) load.Turn(true);
  usleep(300 * 1000);  // let the server come to rest
  printf("{\"server_rss_before_kib\": %lld, \"server_rss_kib\": %lld}\n",
         static_cast<long long>(before), static_cast<long long>(RssKibOf(pid)));
}

// --- one after the other ---

void RunHandshakes() {
  const double begin = Now() + absl::GetFlag(FLAGS_warmup);
  while (Now() < begin) Connection(0);
  const Usage usage(Now());
  const double end = Now() + absl::GetFlag(FLAGS_seconds);
  double count = 0;
  for (; Now() < end; ++count) Connection(0);
  usage.Print(count);
}

void RunBulk() {
  Connection c(0);
  std::vector<char> buffer(64 << 10);
  const auto read_until = [&](double end) {
    double bytes = 0;
    while (Now() < end) {
      const int n = SSL_read(c.ssl, buffer.data(), static_cast<int>(buffer.size()));
      if (n <= 0) Fail("read");
      bytes += n;
    }
    return bytes;
  };
  read_until(Now() + absl::GetFlag(FLAGS_warmup));
  const Usage usage(Now());
  usage.Print(read_until(Now() + absl::GetFlag(FLAGS_seconds)));
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  alarm(static_cast<unsigned>(absl::GetFlag(FLAGS_seconds)) + 120);
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const std::string mode = absl::GetFlag(FLAGS_mode);
  if (mode == "echo") {
    RunEcho();
  } else if (mode == "idle") {
    RunIdle();
  } else if (mode == "handshakes") {
    RunHandshakes();
  } else if (mode == "bulk") {
    RunBulk();
  } else {
    fprintf(stderr, "tls_load: no --mode=%s\n", mode.c_str());
    return 2;
  }
}
