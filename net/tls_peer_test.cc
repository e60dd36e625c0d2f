// grove's TLS against other people's: openssl s_client and s_server, and curl. A program
// that is not installed is a failure that names it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/run.h"
#include "grove/green/os/subprocess.h"
#include "grove/green/status.h"
#include "grove/net/tcp.h"
#include "grove/net/tls.h"
#include "grove/net/tls_test_util.h"
#include "grove/net/unix.h"
#include "grove/sync/semaphore.h"

namespace grove::net {
namespace {

using absl::StatusCode;

std::string File(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

// A guard for what should end by itself.
Deadline Guard() { return absl::Seconds(60); }

class TlsPeerTest : public GreenletTest {
 protected:
  // Other programs take real time.
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }

  void SetUp() override {
    root_ = File("root.pem", Authority().root());
    chain_ = File("server.pem", ServerIdentity().chain);
    key_ = File("server.key", ServerIdentity().key);
    // The folder's name may be longer than a socket's address can be.
    folder_ = open(testing::TempDir().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    socket_ = absl::StrCat("/proc/self/fd/", folder_, "/", kSocket);
    unlink(socket_.c_str());
  }
  void TearDown() override { close(folder_); }

  // --- openssl s_server, on a socket of its own ---

  Subprocess StartServer(std::vector<std::string> more) {
    std::vector<std::string> argv = {"openssl", "s_server", "-unix", kSocket, "-unlink",
                                     "-cert",   chain_,     "-key",  key_};
    argv.insert(argv.end(), more.begin(), more.end());
    absl::StatusOr<Subprocess> server =
        Subprocess::Start(argv, {.in = Stdio::Pipe(),
                                 .out = Stdio::Pipe(),
                                 .err = Stdio::Stdout(),
                                 .cwd = testing::TempDir()});
    EXPECT_TRUE(server.ok()) << server.status();
    output_.clear();
    ReadUntil(server->out(), "ACCEPT");
    return *std::move(server);
  }

  absl::StatusOr<TlsStream> Connect(const TlsClientContext& context,
                                    const std::string& host = "a.test") {
    absl::StatusOr<UnixStream> tcp = UnixStream::Connect(*UnixAddress::Parse(socket_));
    if (!tcp.ok()) return tcp.status();
    TlsStream stream(*std::move(tcp), context, host);
    if (absl::Status s = stream.Handshake(Guard()); !s.ok()) return s;
    return stream;
  }

  void Stop(Subprocess& process) {
    process.Kill().IgnoreError();
    EXPECT_TRUE(process.Wait(Guard()).ok());
  }

  // Tells a program's stdin a command of its own, and waits until it says that it has
  // carried that out: of what it reads at once only the first line is looked at.
  void Command(Subprocess& process, const std::string& command, const std::string& done) {
    output_.clear();
    ASSERT_TRUE(process.in().Write(command + "\n").ok());
    ReadUntil(process.out(), done);
  }

  // Reads what a program writes until it has written `text`.
  void ReadUntil(PipeReader& out, const std::string& text) {
    char buffer[4096];
    while (!absl::StrContains(output_, text)) {
      const absl::StatusOr<size_t> n = out.Read(absl::MakeSpan(buffer), Guard());
      ASSERT_TRUE(n.ok()) << n.status() << " in:\n" << output_;
      ASSERT_GT(*n, 0u) << "no '" << text << "' in:\n" << output_;
      output_.append(buffer, *n);
    }
  }

  // --- openssl s_client and curl, against a server of ours ---

  TlsStream Accept(UnixListener& listener, const TlsServerContext& context) {
    absl::StatusOr<UnixStream> stream = listener.Accept(Guard());
    EXPECT_TRUE(stream.ok()) << stream.status();
    return TlsStream(*std::move(stream), context);
  }

  absl::StatusOr<Subprocess> StartClient(std::vector<std::string> more) {
    std::vector<std::string> argv = {"openssl",
                                     "s_client",
                                     "-unix",
                                     kSocket,
                                     "-CAfile",
                                     root_,
                                     "-servername",
                                     "a.test",
                                     "-verify_return_error",
                                     "-verify_hostname",
                                     "a.test"};
    argv.insert(argv.end(), more.begin(), more.end());
    output_.clear();
    return Subprocess::Start(argv, {.in = Stdio::Pipe(),
                                    .out = Stdio::Pipe(),
                                    .err = Stdio::Stdout(),
                                    .cwd = testing::TempDir()});
  }

  static constexpr char kSocket[] = "tls_peer.sock";
  int folder_ = -1;
  std::string root_, chain_, key_, socket_, output_;
};

std::string ReadLine(Stream& stream) {
  std::string rest;
  const absl::StatusOr<std::string> line = stream.ReadUntil("\n", rest, 10000, Guard());
  EXPECT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(rest, "");
  return line.value_or("");
}

// --- as a client ---

GREENLET_TEST_F(TlsPeerTest, OpensslServerAnswersInBothVersions) {
  for (const auto& [option, version] :
       {std::pair("-tls1_2", TlsVersion::k1_2), std::pair("-tls1_3", TlsVersion::k1_3)}) {
    Subprocess server = StartServer({"-rev", option, "-alpn", "http/1.1"});
    absl::StatusOr<TlsStream> stream = Connect(ClientContext({.alpn = {"http/1.1"}}));
    ASSERT_TRUE(stream.ok()) << stream.status();
    EXPECT_EQ(stream->version(), version);
    EXPECT_EQ(stream->alpn(), "http/1.1");
    ASSERT_TRUE(stream->Write("hello\n").ok());
    EXPECT_EQ(ReadLine(*stream), "olleh\n");
    EXPECT_EQ(stream->peer_certificate()->subject, "CN=server");
    stream->Close();
    Stop(server);
  }
}

GREENLET_TEST_F(TlsPeerTest, OpensslServersVersionMustBeOneOfOurs) {
  Subprocess server = StartServer({"-rev", "-tls1_2"});
  const absl::Status status =
      Connect(ClientContext({.min_version = TlsVersion::k1_3})).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  Stop(server);
}

GREENLET_TEST_F(TlsPeerTest, OpensslServersCertificateMustBeForTheHost) {
  Subprocess server = StartServer({"-rev"});
  const absl::Status status = Connect(ClientContext(), "b.test").status();
  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated) << status;
  EXPECT_EQ(
      Connect(ClientContext({.roots = TestAuthority("other").root()})).status().code(),
      StatusCode::kUnauthenticated);
  Stop(server);
}

GREENLET_TEST_F(TlsPeerTest, OpensslServerResumesOurSessions) {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    Subprocess server = StartServer({"-rev", version});
    const TlsClientContext client = ClientContext();
    for (int i = 0; i < 3; ++i) {
      absl::StatusOr<TlsStream> stream = Connect(client);
      ASSERT_TRUE(stream.ok()) << stream.status();
      EXPECT_EQ(stream->resumed(), i > 0) << version;
      ASSERT_TRUE(stream->Write("x\n").ok());
      EXPECT_EQ(ReadLine(*stream), "x\n");
      stream->Close();
    }
    Stop(server);
  }
}

GREENLET_TEST_F(TlsPeerTest, OpensslServerAsksForOurCertificate) {
  Subprocess server =
      StartServer({"-rev", "-Verify", "1", "-CAfile", root_, "-verify_return_error"});
  absl::StatusOr<TlsStream> stream =
      Connect(ClientContext({.identity = NewIdentity({.common_name = "alice"})}));
  ASSERT_TRUE(stream.ok()) << stream.status();
  ASSERT_TRUE(stream->Write("hello\n").ok());
  EXPECT_EQ(ReadLine(*stream), "olleh\n");
  stream->Close();  // it serves one at a time

  // Without one. With TLS 1.3 we hear of it when we read.
  absl::StatusOr<TlsStream> none = Connect(ClientContext());
  char b[10];
  const absl::Status refused =
      none.ok() ? none->Read(absl::MakeSpan(b), Guard()).status() : none.status();
  EXPECT_EQ(refused.code(), StatusCode::kUnauthenticated) << refused;
  EXPECT_TRUE(absl::StrContains(refused.message(), "certificate required")) << refused;
  Stop(server);
}

GREENLET_TEST_F(TlsPeerTest, OpensslServerThatIsKilledIsNoCleanEnd) {
  Subprocess server = StartServer({"-rev"});
  absl::StatusOr<TlsStream> stream = Connect(ClientContext());
  ASSERT_TRUE(stream.ok()) << stream.status();
  Stop(server);
  char b[10];
  // Cut, or reset.
  EXPECT_FALSE(stream->Read(absl::MakeSpan(b), Guard()).ok());
}

GREENLET_TEST_F(TlsPeerTest, OpensslServersCloseNotifyIsTheEnd) {
  Subprocess server = StartServer({"-rev"});
  absl::StatusOr<TlsStream> stream = Connect(ClientContext());
  ASSERT_TRUE(stream.ok()) << stream.status();
  ASSERT_TRUE(stream->Write("CLOSE\n").ok());  // a command of -rev
  char b[10];
  const absl::StatusOr<size_t> end = stream->Read(absl::MakeSpan(b), Guard());
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, 0u);
  stream->Close();
  Stop(server);
}

GREENLET_TEST_F(TlsPeerTest, RenegotiationByAnOpensslServerIsRefused) {
  Subprocess server = StartServer({"-tls1_2"});
  absl::StatusOr<TlsStream> stream = Connect(ClientContext());
  ASSERT_TRUE(stream.ok()) << stream.status();
  ASSERT_TRUE(server.in().Write("r\n").ok());
  char b[10];
  const absl::Status status = stream->Read(absl::MakeSpan(b), Guard()).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "renegotiation")) << status;
  Stop(server);
}

// --- as a server ---

GREENLET_TEST_F(TlsPeerTest, OpensslClientTalksInBothVersions) {
  UnixListener listener = *UnixListener::Listen(*UnixAddress::Parse(socket_));
  const TlsServerContext context = ServerContext({.alpn = {"h2", "http/1.1"}});
  for (const auto& [option, version] :
       {std::pair("-tls1_2", TlsVersion::k1_2), std::pair("-tls1_3", TlsVersion::k1_3)}) {
    absl::StatusOr<Subprocess> client =
        StartClient({option, "-alpn", "http/1.1", "-brief"});
    ASSERT_TRUE(client.ok()) << client.status();
    TlsStream stream = Accept(listener, context);
    ASSERT_TRUE(stream.Handshake(Guard()).ok());
    EXPECT_EQ(stream.version(), version);
    EXPECT_EQ(stream.alpn(), "http/1.1");
    EXPECT_EQ(stream.server_name(), "a.test");
    ASSERT_TRUE(client->in().Write("hello\n").ok());
    EXPECT_EQ(ReadLine(stream), "hello\n");
    ASSERT_TRUE(stream.Write("and back\n").ok());
    ReadUntil(client->out(), "and back\n");
    EXPECT_TRUE(absl::StrContains(output_, "Verification: OK")) << output_;
    // The end of its input is the end of ours.
    client->in().Close();
    EXPECT_EQ(ReadSome(stream), "");
    stream.Close();
    EXPECT_TRUE(client->Wait(Guard()).ok());
  }
}

GREENLET_TEST_F(TlsPeerTest, KeyUpdatesOfAnOpensslClientAreAnswered) {
  UnixListener listener = *UnixListener::Listen(*UnixAddress::Parse(socket_));
  absl::StatusOr<Subprocess> client = StartClient({"-tls1_3"});
  ASSERT_TRUE(client.ok()) << client.status();
  TlsStream stream = Accept(listener, ServerContext());
  ASSERT_TRUE(stream.Handshake(Guard()).ok());
  // One greenlet only reads, so that it is the other that sends what its reads call for.
  Semaphore lines(0);
  const Greenlet<> reader = Spawn([&] {
    for (;;) {
      const std::string some = ReadSome(stream);
      if (some.empty()) return;
      for (const char c : some) {
        if (c == '\n') lines.release();
      }
    }
  });
  for (int i = 0; i < 5; ++i) {
    Command(*client, "K", "KEYUPDATE");
    ASSERT_TRUE(client->in().Write("x\n").ok());
    ASSERT_TRUE(lines.acquire(Guard()));
    ASSERT_TRUE(stream.Write(absl::StrCat("line ", i, "\n")).ok());
    ReadUntil(client->out(), absl::StrCat("line ", i, "\n"));
  }
  ASSERT_TRUE(client->in().Write("Q\n").ok());
  reader.Join();
  EXPECT_TRUE(client->Wait(Guard()).ok());
}

GREENLET_TEST_F(TlsPeerTest, RenegotiationByAnOpensslClientIsRefused) {
  UnixListener listener = *UnixListener::Listen(*UnixAddress::Parse(socket_));
  absl::StatusOr<Subprocess> client = StartClient({"-tls1_2"});
  ASSERT_TRUE(client.ok()) << client.status();
  TlsStream stream = Accept(listener, ServerContext());
  ASSERT_TRUE(stream.Handshake(Guard()).ok());
  ASSERT_TRUE(client->in().Write("R\n").ok());
  char b[10];
  const absl::Status status = stream.Read(absl::MakeSpan(b), Guard()).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "renegotiation")) << status;
  stream.Close();
  EXPECT_TRUE(client->Wait(Guard()).ok());
}

GREENLET_TEST_F(TlsPeerTest, AnOpensslClientOfAnOldVersionIsRefused) {
  UnixListener listener = *UnixListener::Listen(*UnixAddress::Parse(socket_));
  absl::StatusOr<Subprocess> client =
      StartClient({"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"});
  ASSERT_TRUE(client.ok()) << client.status();
  TlsStream stream = Accept(listener, ServerContext());
  const absl::Status status = stream.Handshake(Guard());
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(client->Wait(Guard()).ok());
}

GREENLET_TEST_F(TlsPeerTest, AnOpensslClientThatIsKilledIsNoCleanEnd) {
  UnixListener listener = *UnixListener::Listen(*UnixAddress::Parse(socket_));
  absl::StatusOr<Subprocess> client = StartClient({});
  ASSERT_TRUE(client.ok()) << client.status();
  TlsStream stream = Accept(listener, ServerContext());
  ASSERT_TRUE(stream.Handshake(Guard()).ok());
  Stop(*client);
  char b[10];
  const absl::Status status = stream.Read(absl::MakeSpan(b), Guard()).status();
  EXPECT_FALSE(status.ok()) << "cut, or reset";
}

class TlsCurlTest : public TlsPeerTest {
 protected:
  void SetUp() override {
    TlsPeerTest::SetUp();
    listener_ = *TcpListener::Listen(Address::Loopback(0));
  }
  void TearDown() override {
    listener_.Close();
    TlsPeerTest::TearDown();
  }

  // Answers requests, each on a connection of its own, with what they sent.
  void Serve(const TlsServerContext& context, int requests) {
    server_ = Spawn([this, context, requests] {
      for (int i = 0; i < requests; ++i) {
        absl::StatusOr<TcpStream> tcp = listener_.Accept(Guard());
        ASSERT_TRUE(tcp.ok()) << tcp.status();
        TlsStream stream(*std::move(tcp), context);
        std::string rest;
        const absl::StatusOr<std::string> head =
            stream.ReadUntil("\r\n\r\n", rest, 10000, Guard());
        resumed_ += stream.resumed();
        if (!head.ok()) {
          failure_ = head.status();
          continue;
        }
        size_t length = 0;
        const size_t at = head->find("Content-Length: ");
        if (at != std::string::npos) length = atoi(head->c_str() + at + 16);
        std::string body = rest;
        const size_t have = body.size();
        body.resize(length);
        ASSERT_TRUE(stream.ReadExactly(absl::MakeSpan(body).subspan(have), Guard()).ok());
        if (const auto peer = stream.peer_certificate()) body += peer->subject;
        ASSERT_TRUE(stream
                        .WriteGather({absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ",
                                                   body.size(), "\r\n\r\n"),
                                      body},
                                     Guard())
                        .ok());
        stream.Close();
      }
    });
  }

  absl::StatusOr<CompletedProcess> Curl(std::vector<std::string> more,
                                        const std::string& host = "a.test") {
    const std::string port = absl::StrCat(listener_.address().port());
    std::vector<std::string> argv = {"curl",
                                     "--silent",
                                     "--show-error",
                                     "--noproxy",
                                     "*",
                                     "--max-time",
                                     "60",
                                     "--cacert",
                                     root_,
                                     "--resolve",
                                     absl::StrCat(host, ":", port, ":127.0.0.1")};
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back(absl::StrCat("https://", host, ":", port, "/"));
    return RunProcess(argv, {.deadline = Guard()});
  }

  TcpListener listener_;
  Greenlet<> server_;
  absl::Status failure_;
  int resumed_ = 0;
};

GREENLET_TEST_F(TlsCurlTest, SendsAndGetsInBothVersions) {
  Serve(ServerContext({.alpn = {"http/1.1"}}), 2);
  const std::string body = Pattern(1 << 20);
  for (const std::vector<std::string>& version :
       {std::vector<std::string>{"--tls-max", "1.2"}, {"--tlsv1.3"}}) {
    std::vector<std::string> more = version;
    more.insert(more.end(), {"--data-binary", "@" + File("body", body), "-H", "Expect:"});
    const auto done = Curl(more);
    ASSERT_TRUE(done.ok()) << done.status();
    EXPECT_EQ(done->status.exit_code(), 0) << done->err;
    EXPECT_TRUE(done->out == body) << done->out.size();
  }
  server_.Join();
}

GREENLET_TEST_F(TlsCurlTest, ShowsItsCertificate) {
  Serve(ServerContext({.client_certificates = ClientCertificates::kRequired,
                       .client_roots = Authority().root()}),
        2);
  const TlsIdentity alice = NewIdentity({.common_name = "alice"});
  const auto done = Curl(
      {"--cert", File("alice.pem", alice.chain), "--key", File("alice.key", alice.key)});
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->out, "CN=alice") << done->err;
  const auto refused = Curl({});
  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_NE(refused->status.exit_code(), 0);
  server_.Join();
  EXPECT_EQ(failure_.code(), StatusCode::kUnauthenticated) << failure_;
}

GREENLET_TEST_F(TlsCurlTest, RefusesAWrongNameAndSaysWhyToUs) {
  Serve(ServerContext(), 1);
  const auto done = Curl({}, "b.test");
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->status.exit_code(), 60) << done->err;  // CURLE_PEER_FAILED_VERIFICATION
  server_.Join();
  EXPECT_FALSE(failure_.ok());
}

}  // namespace
}  // namespace grove::net
