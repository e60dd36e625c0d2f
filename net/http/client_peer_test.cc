// grove's client against other people's servers: nginx, by http and by https, Python's
// http.server, and a proxy. A program that is not installed is a failure that names it.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/subprocess.h"
#include "grove/green/wait.h"
#include "grove/net/address.h"
#include "grove/net/dial.h"
#include "grove/net/http/client.h"
#include "grove/net/http/client_test_util.h"
#include "grove/net/http/client_tls.h"
#include "grove/net/tcp.h"
#include "grove/net/tls_test_util.h"
#include "grove/net/unix.h"

namespace grove::http {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Deadline Guard() { return absl::Seconds(60); }

std::string File(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

constexpr char kNginx[] = R"(
user root root;
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events { worker_connections 100; }
http {
  access_log off;
  client_body_temp_path nginx_body;
  proxy_temp_path nginx_proxy;
  fastcgi_temp_path nginx_fastcgi;
  uwsgi_temp_path nginx_uwsgi;
  scgi_temp_path nginx_scgi;
  gzip on;
  gzip_min_length 100;
  gzip_types text/plain;
  server {
    listen unix:n.sock;
    listen unix:s.sock ssl http2;
    ssl_certificate server.pem;
    ssl_certificate_key server.key;
    root .;
    default_type text/plain;
    location /hi { return 200 "hi $connection_requests $host"; }
    location /moved { return 302 /hi; }
    location /none { return 204; }
    location /no { return 403 "no"; }
    location /cut { return 444; }
    location /files/ { alias ./; }
  }
}
)";

// Takes CONNECT to anywhere for one to nginx's socket.
constexpr char kProxy[] = R"(
import base64, socket, socketserver, threading
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline().decode()
        fields = {}
        while True:
            field = self.rfile.readline().decode().strip()
            if not field:
                break
            name, value = field.split(':', 1)
            fields[name.lower()] = value.strip()
        want = 'Basic ' + base64.b64encode(b'joe:pw').decode()
        if fields.get('proxy-authorization') != want:
            self.wfile.write(b'HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n')
            return
        if not line.startswith('CONNECT a.test:443 HTTP/1.1'):
            self.wfile.write(b'HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n')
            return
        other = socket.socket(socket.AF_UNIX)
        other.connect('s.sock')
        self.wfile.write(b'HTTP/1.1 200 Connection established\r\n\r\n')
        def pump(a, b):
            try:
                while data := a.recv(65536):
                    b.sendall(data)
                b.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        back = threading.Thread(target=pump, args=(other, self.connection))
        back.start()
        pump(self.connection, other)
        back.join()
        other.close()
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
with Server(('127.0.0.1', 0), Handler) as server:
    print('port', server.server_address[1], flush=True)
    server.serve_forever()
)";

class ClientPeerTest : public GreenletTest {
 protected:
  // Other programs take real time.
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }

  void SetUp() override {
    folder_ = open(testing::TempDir().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 40000; ++i) absl::StrAppend(&large_, "line ", i, "\n");
  }
  void TearDown() override {
    if (process_) {
      process_->Kill().IgnoreError();
      EXPECT_TRUE(process_->Wait(Guard()).ok());
      process_.reset();
    }
    if (proxy_) {
      proxy_->Kill().IgnoreError();
      EXPECT_TRUE(proxy_->Wait(Guard()).ok());
      proxy_.reset();
    }
    close(folder_);
  }

  std::string Socket(const char* name) const {
    return absl::StrCat("/proc/self/fd/", folder_, "/", name);
  }

  static std::optional<Subprocess> Start(std::vector<std::string> argv,
                                         Stdio out = Stdio::Pipe(),
                                         Stdio err = Stdio::Inherit()) {
    absl::StatusOr<Subprocess> started = Subprocess::Start(
        argv, {.out = std::move(out), .err = std::move(err), .cwd = testing::TempDir()});
    EXPECT_TRUE(started.ok()) << started.status();
    if (!started.ok()) return std::nullopt;
    return *std::move(started);
  }
  // Whether the program says a line with `mark` before it ends; all that it has said.
  static bool SaysLine(PipeReader& out, const std::string& mark, std::string* text) {
    char c = 0;
    while (!absl::StrContains(*text, mark) || c != '\n') {
      const absl::StatusOr<size_t> n = out.Read(absl::MakeSpan(&c, 1), Guard());
      if (!n.ok() || *n == 0) return false;
      text->push_back(c);
    }
    return true;
  }
  // What it says behind `mark`, up to the line's end.
  static std::string ReadPast(PipeReader& out, const std::string& mark) {
    std::string text;
    const bool said = SaysLine(out, mark, &text);
    EXPECT_TRUE(said) << "no '" << mark << "' in:\n" << text;
    return said ? text.substr(text.find(mark) + mark.size()) : "";
  }

  void StartNginx() {
    File("nginx.conf", kNginx);
    File("server.pem", net::ServerIdentity().chain);
    File("server.key", net::ServerIdentity().key);
    File("large.txt", large_);
    unlink(Socket("n.sock").c_str());
    unlink(Socket("s.sock").c_str());
    process_ = Start(
        {"/usr/sbin/nginx", "-p", testing::TempDir(), "-c", "nginx.conf", "-e", "stderr"},
        Stdio::Inherit(), Stdio::Pipe());
    ASSERT_TRUE(process_);
    // Its sockets are there when it says that it begins.
    ReadPast(process_->err(), "getrlimit(RLIMIT_NOFILE)");
  }

  // Whatever is asked for is asked of nginx.
  HttpClientOptions ToNginx() {
    HttpClientOptions options;
    options.dial =
        [this](const ClientEndpoint& to,
               Deadline deadline) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
      return net::DialAny("unix:" + Socket(to.port == 443 ? "s.sock" : "n.sock"),
                          {.deadline = deadline});
    };
    options.secure = SecureByTls(net::ClientContext({.alpn = {"http/1.1"}}));
    return options;
  }

  void AskNginx(const std::string& origin) {
    HttpClient client(ToNginx());
    EXPECT_EQ(Outcome(client.Get(origin + "/hi")), "200 hi 1 a.test");
    EXPECT_EQ(Outcome(client.Get(origin + "/hi")), "200 hi 2 a.test");
    absl::StatusOr<ClientResponse> moved = client.Get(origin + "/moved");
    ASSERT_TRUE(moved.ok()) << moved.status();
    EXPECT_EQ(moved->redirects(), 1);
    EXPECT_EQ(Outcome(std::move(moved)), "200 hi 4 a.test");
    EXPECT_EQ(Outcome(client.Get(origin + "/none")), "204 ");
    EXPECT_EQ(Outcome(client.Head(origin + "/files/large.txt")), "200 ");
    EXPECT_EQ(Outcome(client.Get(origin + "/no")), "403 no");
    // Compressed on the way, in chunks.
    absl::StatusOr<ClientResponse> large = client.Get(origin + "/files/large.txt");
    ASSERT_TRUE(large.ok()) << large.status();
    EXPECT_EQ(large->decompressed(), "gzip");
    EXPECT_TRUE(Outcome(std::move(large)) == "200 " + large_);
    ClientRequest range{.url = origin + "/files/large.txt"};
    range.headers.Set("Range", "bytes=5-9");
    EXPECT_EQ(Outcome(client.Send(range)), "206 " + large_.substr(5, 5));
    EXPECT_EQ(client.connections().begin()->second.connected, 1u);
    // It closes without a word.
    EXPECT_THAT(Outcome(client.Get(origin + "/cut")),
                testing::AnyOf(StartsWith("UNAVAILABLE"), StartsWith("DATA_LOSS")));
  }

  std::string large_;
  int folder_ = -1;
  std::optional<Subprocess> process_;
  std::optional<Subprocess> proxy_;
};

GREENLET_TEST_F(ClientPeerTest, NginxByHttp) {
  StartNginx();
  AskNginx("http://a.test");
}

GREENLET_TEST_F(ClientPeerTest, NginxByHttps) {
  StartNginx();
  AskNginx("https://a.test");
}

GREENLET_TEST_F(ClientPeerTest, NginxByHttp2) {
  StartNginx();
  HttpClientOptions options = ToNginx();
  options.secure = SecureByTls(net::ClientContext({.alpn = {"h2", "http/1.1"}}));
  HttpClient client(options);
  const std::string origin = "https://a.test";
  absl::StatusOr<ClientResponse> hi = client.Get(origin + "/hi");
  ASSERT_TRUE(hi.ok()) << hi.status();
  EXPECT_EQ(hi->version_major(), 2);
  EXPECT_EQ(Outcome(std::move(hi)), "200 hi 1 a.test");
  EXPECT_EQ(Outcome(client.Get(origin + "/moved")), "200 hi 3 a.test");
  EXPECT_EQ(Outcome(client.Get(origin + "/none")), "204 ");
  EXPECT_EQ(Outcome(client.Head(origin + "/files/large.txt")), "200 ");
  EXPECT_EQ(Outcome(client.Get(origin + "/no")), "403 no");
  std::vector<Greenlet<>> asking;
  for (int i = 0; i < 50; ++i) {
    asking.push_back(Spawn([&] {
      for (int k = 0; k < 3; ++k) {
        EXPECT_TRUE(Outcome(client.Get(origin + "/files/large.txt")) == "200 " + large_);
      }
    }));
  }
  JoinAll(asking);
  // It answers while the body is on its way.
  EXPECT_THAT(Outcome(client.Post(origin + "/files/large.txt", "text/plain",
                                  std::string(3 << 20, 'a'))),
              StartsWith("413 "));
  EXPECT_EQ(client.statistics().http2_connections, 1u);
}

GREENLET_TEST_F(ClientPeerTest, NghttpdByPriorKnowledge) {
  File("large.txt", large_);
  // It takes no port 0. Another program may take the one that was free before it does.
  int port = 0;
  for (bool listens = false; !listens;) {
    absl::StatusOr<net::TcpListener> free =
        net::TcpListener::Listen(net::Address::Loopback(0));
    ASSERT_TRUE(free.ok()) << free.status();
    port = free->address().port();
    free->Close();
    process_ = Start({"/usr/bin/stdbuf", "-oL", "/usr/sbin/nghttpd", "--no-tls", "-v",
                      "--address=127.0.0.1", "--echo-upload",
                      absl::StrCat("--htdocs=", testing::TempDir()), absl::StrCat(port)},
                     Stdio::Pipe(), Stdio::Pipe());
    ASSERT_TRUE(process_);
    std::string said;
    listens = SaysLine(process_->out(), "listen", &said);
    if (listens) break;
    process_->Kill().IgnoreError();
    SaysLine(process_->err(), "no such text", &said);
    ASSERT_TRUE(process_->Wait(Guard()).ok());
    ASSERT_THAT(said, HasSubstr("Address already in use"));
  }
  const Greenlet<> drain = Spawn([&] {
    char buffer[4096];
    for (;;) {
      const absl::StatusOr<size_t> n = process_->out().Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) return;
    }
  });
  HttpClientOptions options;
  options.http2_prior_knowledge = true;
  const std::string origin = absl::StrCat("http://127.0.0.1:", port);
  {
    HttpClient client(options);
    std::vector<Greenlet<>> asking;
    for (int i = 0; i < 50; ++i) {
      asking.push_back(Spawn([&] {
        EXPECT_TRUE(Outcome(client.Get(origin + "/large.txt")) == "200 " + large_);
      }));
    }
    JoinAll(asking);
    EXPECT_THAT(Outcome(client.Get(origin + "/nothing")), StartsWith("404 "));
    EXPECT_TRUE(Outcome(client.Post(origin + "/echo", "text/plain", large_)) ==
                "200 " + large_);
    EXPECT_EQ(client.statistics().http2_connections, 1u);
  }
  drain.Kill();
}

GREENLET_TEST_F(ClientPeerTest, ManyGreenletsAskNginxAtOnce) {
  StartNginx();
  HttpClient client(ToNginx());
  std::vector<Greenlet<>> asking;
  for (int i = 0; i < 50; ++i) {
    asking.push_back(Spawn([&, i] {
      const std::string origin = i % 2 ? "https://a.test" : "http://a.test";
      for (int k = 0; k < 5; ++k) {
        EXPECT_TRUE(Outcome(client.Get(origin + "/files/large.txt")) == "200 " + large_);
      }
    }));
  }
  JoinAll(asking);
  for (const auto& [origin, pool] : client.connections()) {
    EXPECT_LE(pool.connected, 16u) << origin;
    EXPECT_EQ(pool.discarded, 0u) << origin;
  }
}

GREENLET_TEST_F(ClientPeerTest, WhoIsNotTheHostIsNotAsked) {
  StartNginx();
  HttpClient client(ToNginx());
  const absl::Status s = client.Get("https://b.test/hi?secret").status();
  EXPECT_EQ(s.code(), absl::StatusCode::kUnauthenticated) << s;
  EXPECT_THAT(std::string(s.message()), StartsWith("GET https://b.test/hi?[6 bytes]: "));
  // Nor is TLS spoken to who does not understand it.
  EXPECT_FALSE(client.Get("https://a.test:80/hi").ok());
  EXPECT_THAT(Outcome(client.Get("http://a.test:443/hi")), StartsWith("400 "));
}

GREENLET_TEST_F(ClientPeerTest, NginxThroughAProxy) {
  StartNginx();
  proxy_ = Start({"/usr/bin/python3", File("proxy.py", kProxy)});
  ASSERT_TRUE(proxy_);
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(ReadPast(proxy_->out(), "port "), &port));
  HttpClientOptions options;
  options.secure = SecureByTls(net::ClientContext());
  options.proxy = absl::StrCat("http://joe:pw@127.0.0.1:", port);
  {
    HttpClient client(options);
    EXPECT_EQ(Outcome(client.Get("https://a.test/hi")), "200 hi 1 a.test");
    EXPECT_EQ(Outcome(client.Get("https://a.test/hi")), "200 hi 2 a.test");
    EXPECT_TRUE(Outcome(client.Get("https://a.test/files/large.txt")) == "200 " + large_);
    EXPECT_THAT(Outcome(client.Get("https://other.test/")), StartsWith("UNAVAILABLE"));
  }
  options.proxy = absl::StrCat("http://joe:no@127.0.0.1:", port);
  HttpClient stranger(options);
  EXPECT_THAT(Outcome(stranger.Get("https://a.test/hi")), StartsWith("UNAUTHENTICATED"));
}

// HTTP/1.0, without lengths where folders are listed.
GREENLET_TEST_F(ClientPeerTest, PythonsServer) {
  File("large.txt", large_);
  process_ =
      Start({"/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"},
            Stdio::Pipe(), Stdio::Null());
  ASSERT_TRUE(process_);
  const std::string text = ReadPast(process_->out(), "port ");
  const std::string origin =
      absl::StrCat("http://127.0.0.1:", text.substr(0, text.find(' ')));
  HttpClient client;
  EXPECT_TRUE(Outcome(client.Get(origin + "/large.txt")) == "200 " + large_);
  EXPECT_THAT(Outcome(client.Get(origin + "/")), HasSubstr("large.txt"));
  EXPECT_THAT(Outcome(client.Get(origin + "/nothing")), StartsWith("404 "));
  EXPECT_THAT(Outcome(client.Post(origin + "/", "text/plain", std::string(300000, 'a'))),
              StartsWith("501 "));
  absl::StatusOr<ClientResponse> response = client.Get(origin + "/large.txt");
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->version_minor(), 0);
  EXPECT_EQ(response->length(), large_.size());
}

}  // namespace
}  // namespace grove::http
