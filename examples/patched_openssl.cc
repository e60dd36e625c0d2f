// Says until when the certificates of servers are valid, by the distribution's OpenSSL on
// plain sockets, all at once, on one thread.
//
//   bazel run //examples:patched_openssl -- example.org example.com:8443
//
// Nothing in here is grove's but main(): getaddrinfo(), connect() and SSL_connect() are
// calls that block, and after PatchAll() they stop the greenlet that makes them. Look at
// Connect() and Look(), which are what any C program does, and at Check(), where a time
// limit is put around all of it.
//
// A line for each: host, days left, whose it is; or what failed. The exit status is 0
// only if all certificates could be seen and are valid for --days more. It verifies
// nothing else, and says so of nobody: it is to warn before others refuse.

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/pool.h"
#include "grove/green/timeout.h"
#include "grove/patch/patch.h"

ABSL_FLAG(int, at_once, 100, "connections at the same time");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(10),
          "for each server, once libc has looked its name up");
ABSL_FLAG(int, days, 14, "for how many days a certificate has to be valid");

namespace {

using grove::examples::ParseWords;
using grove::examples::Refuse;

struct Free {
  void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
  void operator()(SSL* s) const { SSL_free(s); }
  void operator()(X509* x) const { X509_free(x); }
  void operator()(addrinfo* a) const { freeaddrinfo(a); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Why a call has failed that returned `result`.
std::string WhyNot(const SSL* ssl, int result) {
  const int error = errno;
  if (SSL_get_error(ssl, result) == SSL_ERROR_SYSCALL && ERR_peek_error() == 0) {
    return error != 0 ? strerror(error) : "the connection has ended";
  }
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return text;
}

absl::StatusOr<Socket> Connect(const std::string& host, const std::string& port) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found)) {
    return absl::UnavailableError(gai_strerror(error));
  }
  const Owned<addrinfo> addresses(found);
  int error = 0;
  for (const addrinfo* a = addresses.get(); a; a = a->ai_next) {
    Socket s(socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol));
    if (s.fd() >= 0 && connect(s.fd(), a->ai_addr, a->ai_addrlen) == 0) return s;
    error = errno;
  }
  return absl::UnavailableError(absl::StrCat("connect: ", strerror(error)));
}

struct Certificate {
  int days_left = 0;
  std::string subject;
};

absl::StatusOr<Certificate> Look(SSL_CTX* context, const std::string& server) {
  const size_t colon = server.rfind(':');
  const std::string host = server.substr(0, colon);
  absl::StatusOr<Socket> s =
      Connect(host, colon == server.npos ? "443" : server.substr(colon + 1));
  if (!s.ok()) return std::move(s).status();
  const Owned<SSL> ssl(SSL_new(context));
  SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  SSL_set_fd(ssl.get(), s->fd());
  ERR_clear_error();
  if (const int result = SSL_connect(ssl.get()); result != 1) {
    return absl::UnavailableError(absl::StrCat("handshake: ", WhyNot(ssl.get(), result)));
  }
  const Owned<X509> x(SSL_get1_peer_certificate(ssl.get()));
  Certificate certificate;
  int seconds = 0;
  if (!x || ASN1_TIME_diff(&certificate.days_left, &seconds, nullptr,
                           X509_get0_notAfter(x.get())) != 1) {
    return absl::UnavailableError("no certificate");
  }
  char subject[512] = "";
  X509_NAME_oneline(X509_get_subject_name(x.get()), subject, sizeof subject);
  certificate.subject = subject;
  // Hours count: one that has expired since midnight has no day left, and not even none.
  if (seconds < 0) --certificate.days_left;
  return certificate;
}

// Whether it is valid for as long as it has to be.
bool Check(SSL_CTX* context, const std::string& server) {
  const auto look = [&] {
    absl::StatusOr<Certificate> c = Look(context, server);
    // A call that the Timeout has ended has failed, by ECANCELED: it is thrown from here.
    if (!c.ok()) grove::CheckInterrupt();
    return c;
  };
  const absl::StatusOr<Certificate> c =
      grove::WithTimeout(absl::GetFlag(FLAGS_timeout), look);
  if (!c.ok()) {
    printf("%s: %s\n", server.c_str(), std::string(c.status().message()).c_str());
    return false;
  }
  printf("%s: %d days left, %s\n", server.c_str(), c->days_left, c->subject.c_str());
  return c->days_left >= absl::GetFlag(FLAGS_days);
}

}  // namespace

int main(int argc, char** argv) {
  grove::patch::PatchAll();  // first, before there are other threads
  signal(SIGPIPE, SIG_IGN);  // or a server that goes away would take this along
  const std::vector<std::string> servers =
      ParseWords(argc, argv,
                 "Says until when certificates are valid, by OpenSSL, all at once.\n"
                 "  patched_openssl [--at_once=100] [--timeout=10s] [--days=14] "
                 "HOST[:PORT]...");
  if (absl::GetFlag(FLAGS_at_once) < 1) Refuse("--at_once: at least one is needed");
  if (servers.empty()) Refuse("no servers (see --help)");

  const Owned<SSL_CTX> context(SSL_CTX_new(TLS_client_method()));
  bool all = true;
  grove::Pool pool(absl::GetFlag(FLAGS_at_once));
  for (const std::string& server : servers) {
    pool.Spawn([&] { all = Check(context.get(), server) && all; });
  }
  pool.Join();
  return all ? 0 : 1;
}
