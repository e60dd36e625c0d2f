// The distribution's OpenSSL on blocking sockets: both ends of hundreds of connections on
// one hub, and the distribution's own server.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/os/run.h"
#include "grove/green/sleep.h"
#include "grove/patch/adapters/adapter_test.h"
#include "grove/patch/adapters/nginx_server.h"

namespace grove::patch {
namespace {

struct Free {
  void operator()(SSL_CTX* c) const { SSL_CTX_free(c); }
  void operator()(SSL* s) const { SSL_free(s); }
};
using Context = std::unique_ptr<SSL_CTX, Free>;
using Stream = std::unique_ptr<SSL, Free>;

std::string WhyNot() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return text;
}

bool WriteAll(const Stream& s, const std::string& text) {
  return SSL_write(s.get(), text.data(), static_cast<int>(text.size())) ==
         static_cast<int>(text.size());
}

std::string ReadAll(const Stream& s, size_t size) {
  std::string text(size, '\0');
  size_t done = 0;
  while (done < size) {
    const int n = SSL_read(s.get(), text.data() + done, static_cast<int>(size - done));
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  text.resize(done);
  return text;
}

// A blocking socket, as a program has it that knows nothing of grove.
class Socket {
 public:
  explicit Socket(int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) : fd_(fd) {}
  ~Socket() { close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  bool Connect(int port) const {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  // Returns the port.
  int Listen() const {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    EXPECT_EQ(listen(fd_, 4096), 0);
    return ntohs(address.sin_port);
  }

 private:
  const int fd_;
};

class OpensslTest : public AdapterTest {
 protected:
  void SetUp() override {
    folder_ = EmptyFolder("tls");
    certificate_ = folder_ + "/cert.pem";
    key_ = folder_ + "/key.pem";
    ASSERT_TRUE(
        CheckOutput({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                     "/CN=localhost", "-keyout", key_, "-out", certificate_},
                    {.process = {.err = Stdio::Null()}})
            .ok());
    client_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_verify(client_.get(), SSL_VERIFY_PEER, nullptr);
    ASSERT_EQ(SSL_CTX_load_verify_locations(client_.get(), certificate_.c_str(), nullptr),
              1);
    server_.reset(SSL_CTX_new(TLS_server_method()));
    ASSERT_EQ(SSL_CTX_use_certificate_file(server_.get(), certificate_.c_str(),
                                           SSL_FILETYPE_PEM),
              1);
    ASSERT_EQ(SSL_CTX_use_PrivateKey_file(server_.get(), key_.c_str(), SSL_FILETYPE_PEM),
              1);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static Stream Over(const Context& context, const Socket& socket) {
    Stream s(SSL_new(context.get()));
    SSL_set_fd(s.get(), socket.fd());
    return s;
  }

  // Nobody is answered before all have shaken hands, and have asked.
  void AllTalkAtOnce(const size_t count) {
    const Socket listener;
    const int port = listener.Listen();
    pthread_barrier_t all_have_asked;
    pthread_barrier_init(&all_have_asked, nullptr, static_cast<unsigned>(count));
    const std::string body(100'000, 'b');  // does not fit into a socket's buffer
    const Greenlet<> server = Spawn([&] {
      std::vector<Greenlet<>> connections;
      for (size_t i = 0; i < count; ++i) {
        const int fd = accept(listener.fd(), nullptr, nullptr);
        ASSERT_GE(fd, 0);
        connections.push_back(Spawn([&, fd] {
          const Socket socket(fd);
          const Stream s = Over(server_, socket);
          ASSERT_EQ(SSL_accept(s.get()), 1) << WhyNot();
          ASSERT_EQ(ReadAll(s, 6), "please");
          pthread_barrier_wait(&all_have_asked);
          EXPECT_TRUE(WriteAll(s, body)) << WhyNot();
          SSL_shutdown(s.get());
        }));
      }
      for (const auto& connection : connections) connection.Join();
    });
    std::vector<Greenlet<>> clients;
    for (size_t i = 0; i < count; ++i) {
      clients.push_back(Spawn([&] {
        const Socket socket;
        ASSERT_TRUE(socket.Connect(port));
        const Stream s = Over(client_, socket);
        ASSERT_EQ(SSL_connect(s.get()), 1) << WhyNot();
        ASSERT_TRUE(WriteAll(s, "please")) << WhyNot();
        EXPECT_TRUE(ReadAll(s, body.size()) == body);
        char more;
        EXPECT_EQ(SSL_read(s.get(), &more, 1), 0);
        EXPECT_EQ(SSL_get_shutdown(s.get()), SSL_RECEIVED_SHUTDOWN);
      }));
    }
    for (const auto& client : clients) client.Join();
    server.Join();
    pthread_barrier_destroy(&all_have_asked);
    EXPECT_GE(Waits("read"), count);
  }

  std::string folder_, certificate_, key_;
  Context client_, server_;
};

GREENLET_TEST_F(OpensslTest, AHundredTalkAtOnce) { AllTalkAtOnce(100); }

GREENLET_TEST_F(OpensslTest, AThousandTalkAtOnce) { AllTalkAtOnce(1000); }

// Each asks for a page of nginx's, and reads to its end.
void AllAskNginx(size_t count) {
  std::string body;
  for (int i = 0; i < 20'000; ++i) body += std::to_string(i) + "\n";
  const NginxServer server(body);
  ASSERT_TRUE(server.ready());
  const Context context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  ASSERT_EQ(
      SSL_CTX_load_verify_locations(context.get(), server.certificate().c_str(), nullptr),
      1);
  std::vector<Greenlet<>> clients;
  for (size_t i = 0; i < count; ++i) {
    clients.push_back(Spawn([&] {
      const Socket socket;
      ASSERT_TRUE(socket.Connect(server.secure_port()));
      const Stream s(SSL_new(context.get()));
      SSL_set_fd(s.get(), socket.fd());
      ASSERT_EQ(SSL_set1_host(s.get(), "localhost"), 1);
      ASSERT_EQ(SSL_connect(s.get()), 1) << WhyNot();
      ASSERT_TRUE(WriteAll(s,
                           "GET /file HTTP/1.1\r\nHost: localhost\r\n"
                           "Connection: close\r\n\r\n"))
          << WhyNot();
      // More than there is.
      const std::string answer = ReadAll(s, body.size() + 10'000);
      EXPECT_EQ(answer.substr(0, 15), "HTTP/1.1 200 OK");
      EXPECT_TRUE(answer.size() > body.size() &&
                  answer.substr(answer.size() - body.size()) == body);
    }));
  }
  for (const auto& client : clients) client.Join();
}

GREENLET_TEST_F(OpensslTest, AHundredThroughARealServer) { AllAskNginx(100); }

GREENLET_TEST_F(OpensslTest, AThousandThroughARealServer) { AllAskNginx(1000); }

GREENLET_TEST_F(OpensslTest, WithTheDistributionsServer) {
  const int port = FreePort();
  const RealServer server({"openssl", "s_server", "-accept", std::to_string(port),
                           "-cert", certificate_, "-key", key_, "-rev"},
                          "ACCEPT");
  ASSERT_TRUE(server.ready());
  // It serves one after the other: all wait for the first, and none for another.
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(Spawn([&, i] {
      const Socket socket;
      ASSERT_TRUE(socket.Connect(port));
      const Stream s = Over(client_, socket);
      ASSERT_EQ(SSL_connect(s.get()), 1) << WhyNot();
      const std::string line = "line " + std::to_string(i);
      ASSERT_TRUE(WriteAll(s, line + "\n")) << WhyNot();
      EXPECT_EQ(ReadAll(s, line.size() + 1),
                std::string(line.rbegin(), line.rend()) + "\n");
      SSL_shutdown(s.get());
    }));
  }
  for (const auto& client : clients) client.Join();
}

GREENLET_TEST_F(OpensslTest, AKillEndsAHandshake) {
  const Socket listener;
  const int port = listener.Listen();
  bool connected = false;
  const Greenlet<> client = Spawn([&] {
    const Socket socket;
    ASSERT_TRUE(socket.Connect(port));
    connected = true;
    const Stream s = Over(client_, socket);
    const int result = SSL_connect(s.get());
    EXPECT_EQ(SSL_get_error(s.get(), result), SSL_ERROR_SYSCALL);
    Sleep(absl::InfiniteDuration());
  });
  const Socket accepted(accept(listener.fd(), nullptr, nullptr));
  char hello;
  ASSERT_EQ(read(accepted.fd(), &hello, 1), 1);  // the handshake has begun
  EXPECT_TRUE(connected);
  client.Kill();
  EXPECT_TRUE(client.killed());
}

}  // namespace
}  // namespace grove::patch
