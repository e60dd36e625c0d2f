#include "grove/net/tls_context.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/net/tls.h"
#include "grove/net/tls_test_util.h"

namespace grove::net {
namespace {

using absl::StatusCode;

std::string Path(const std::string& name) { return testing::TempDir() + "/" + name; }

std::string WriteFile(const std::string& name, const std::string& text) {
  std::ofstream(Path(name)) << text;
  return Path(name);
}

std::string ReadWhole(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

bool Says(const absl::Status& status, absl::string_view text) {
  return absl::StrContains(status.message(), text);
}

// An environment variable, for a test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { unsetenv(name_); }

 private:
  const char* const name_;
};

// What a client says of a server with that certificate.
absl::Status Verify(const TlsIdentity& identity, const std::string& host = "a.test",
                    TlsClientOptions options = {}) {
  TlsPair pair = TlsPair::Make(ClientContext(std::move(options)),
                               ServerContext({.identities = {identity}}), host);
  const auto [client, server] = pair.Handshake();
  EXPECT_EQ(client.ok(), pair.client.handshaken());
  return client;
}

// --- whom a client believes ---

GREENLET_TEST(TlsVerificationTest, NamesAndAddressesMustBeTheOnesThatWereCalled) {
  const TlsIdentity identity = NewIdentity(
      {.dns_names = {"a.test", "*.b.test"}, .addresses = {"192.0.2.1", "2001:db8::1"}});
  for (const char* host : {"a.test", "A.Test", "a.test.", "x.b.test", "192.0.2.1",
                           "2001:db8::1", "[2001:db8::1]", "2001:db8::1%eth0"}) {
    const absl::Status status = Verify(identity, host);
    EXPECT_TRUE(status.ok()) << host << ": " << status;
  }
  for (const char* host :
       {"b.test", "x.a.test", "x.y.b.test", "192.0.2.2", "2001:db8::2", "server"}) {
    const absl::Status status = Verify(identity, host);
    EXPECT_EQ(status.code(), StatusCode::kUnauthenticated) << host << ": " << status;
    EXPECT_TRUE(Says(status, host)) << status;
    EXPECT_TRUE(Says(status, "but for a.test, *.b.test, 192.0.2.1, 2001:db8::1"))
        << status;
  }
}

GREENLET_TEST(TlsVerificationTest, WhatIsNoNameIsSaidToBeNone) {
  for (const std::string& host : {std::string(), std::string("a\0.test", 7),
                                  std::string(300, 'a'), std::string(".")}) {
    const absl::Status status = Verify(ServerIdentity(), host);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
  }
}

GREENLET_TEST(TlsVerificationTest, ExpiredAndNotYetValid) {
  const absl::Status expired = Verify(NewIdentity({.dns_names = {"a.test"},
                                                   .valid_from = -absl::Hours(48),
                                                   .valid_until = -absl::Hours(1)}));
  EXPECT_EQ(expired.code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(Says(expired, "certificate has expired")) << expired;
  EXPECT_TRUE(Says(expired, "valid until")) << expired;
  const absl::Status early =
      Verify(NewIdentity({.dns_names = {"a.test"}, .valid_from = absl::Hours(1)}));
  EXPECT_EQ(early.code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(Says(early, "not yet valid")) << early;
}

GREENLET_TEST(TlsVerificationTest, SelfSignedAndUntrusted) {
  const TlsIdentity own = TestAuthority::SelfSigned({.dns_names = {"a.test"}});
  const absl::Status self = Verify(own);
  EXPECT_EQ(self.code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(Says(self, "self signed certificate")) << self;
  EXPECT_TRUE(Verify(own, "a.test", {.roots = own.chain}).ok()) << "trusted by name";

  const TestAuthority stranger("stranger");
  const absl::Status untrusted = Verify(stranger.Issue({.dns_names = {"a.test"}}));
  EXPECT_EQ(untrusted.code(), StatusCode::kUnauthenticated);
  EXPECT_TRUE(Says(untrusted, "issuer CN=stranger")) << untrusted;
}

GREENLET_TEST(TlsVerificationTest, TheServerIsToldThatItIsNotTrusted) {
  const TestAuthority stranger("stranger");
  TlsPair pair = TlsPair::Make(
      ClientContext(),
      ServerContext({.identities = {stranger.Issue({.dns_names = {"a.test"}})}}));
  const auto [client, server] = pair.Handshake();
  EXPECT_EQ(server.code(), StatusCode::kUnauthenticated) << server;
  EXPECT_TRUE(Says(server, "the peer refused: unknown CA")) << server;
}

GREENLET_TEST(TlsVerificationTest, VerificationCanBeSkipped) {
  const TestAuthority stranger("stranger");
  TlsPair pair = TlsPair::Make(
      ClientContext({.skip_verification = true}),
      ServerContext({.identities = {stranger.Issue({.common_name = "whoever"})}}), "");
  pair.MustHandshake();
  EXPECT_EQ(pair.client.peer_certificate()->subject, "CN=whoever");
  EXPECT_EQ(pair.server.server_name(), "");
}

GREENLET_TEST(TlsVerificationTest, AFailureStaysWithItsConnection) {
  const TlsClientContext client = ClientContext();
  const TlsServerContext server = ServerContext();
  for (int i = 0; i < 3; ++i) {
    TlsPair bad = TlsPair::Make(client, server, "wrong.test");
    EXPECT_EQ(bad.Handshake().first.code(), StatusCode::kUnauthenticated);
    TlsPair good = TlsPair::Make(client, server);
    good.MustHandshake();
  }
}

// --- roots ---

TEST(TlsRootsTest, TheSystemsAreTheDefault) {
  const auto context = TlsClientContext::Make();
  EXPECT_TRUE(context.ok()) << context.status();
}

TEST(TlsRootsTest, NoneFoundIsAnErrorThatSaysWhereTheyWereLookedFor) {
  const Environment empty("SSL_CERT_DIR", "/nonexistent-folder");
  const absl::Status status = TlsClientContext::Make().status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_TRUE(Says(status, "/nonexistent-folder")) << status;
  EXPECT_TRUE(Says(status, "ca-certificates")) << status;
}

GREENLET_TEST(TlsRootsTest, TheEnvironmentNamesFilesAndFolders) {
  const auto verify = [] {
    const auto client = TlsClientContext::Make();
    if (!client.ok()) return client.status();
    return TlsPair::Make(*client, ServerContext()).Handshake().first;
  };
  const std::string file = WriteFile("root.pem", Authority().root());
  EXPECT_EQ(verify().code(), StatusCode::kUnauthenticated);
  {
    const Environment set("SSL_CERT_FILE", file);
    EXPECT_TRUE(verify().ok());
  }
  {
    const Environment set("SSL_CERT_DIR", "/nonexistent:" + testing::TempDir());
    EXPECT_TRUE(verify().ok());
  }
  {
    const Environment empty("SSL_CERT_FILE", "");
    const auto client = TlsClientContext::Make();
    EXPECT_TRUE(client.ok()) << "as if it were not set: " << client.status();
  }
  const Environment set("SSL_CERT_FILE", "/nonexistent");
  EXPECT_TRUE(Says(verify(), "SSL_CERT_FILE: read /nonexistent")) << verify();
}

// --- certificates and keys that are wrong ---

TEST(TlsContextTest, WhatIsWrongWithAnIdentityIsSaid) {
  const TlsIdentity& good = ServerIdentity();
  const auto make = [](TlsIdentity identity) {
    return TlsServerContext::Make({.identities = {std::move(identity)}}).status();
  };
  EXPECT_TRUE(make(good).ok());
  EXPECT_TRUE(Says(make({}), "no certificate is given"));
  EXPECT_TRUE(Says(make({.chain = good.chain}), "no private key is given"));
  EXPECT_TRUE(Says(make({.chain = "nonsense", .key = good.key}), "no certificate in"));
  EXPECT_TRUE(Says(make({.chain = good.chain, .key = "nonsense"}), "private key"));
  const absl::Status other = make({.chain = good.chain, .key = NewIdentity({}).key});
  EXPECT_EQ(other.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Says(other, "is not that of CN=server")) << other;
  const absl::Status missing =
      make({.chain_file = "/nonexistent.pem", .key_file = "/nonexistent.key"});
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_TRUE(Says(missing, "/nonexistent.pem")) << missing;
  std::string broken = good.chain;
  broken[broken.size() / 2] = '!';
  EXPECT_TRUE(Says(make({.chain = broken, .key = good.key}), "certificate 1"));
  EXPECT_TRUE(Says(make({.chain = good.chain, .key = good.key, .key_file = "x"}),
                   "both as text and as file"));
  EXPECT_TRUE(Says(TlsServerContext::Make({}).status(), "needs a certificate"));
}

TEST(TlsContextTest, AnEncryptedKeyIsRefusedWithoutAQuestion) {
  const std::string encrypted =
      "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n"
      "AAAA\n-----END EC PRIVATE KEY-----\n";
  const absl::Status status =
      TlsServerContext::Make(
          {.identities = {{.chain = ServerIdentity().chain, .key = encrypted}}})
          .status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status;
}

TEST(TlsContextTest, OptionsThatContradictAreRefused) {
  EXPECT_EQ(TlsClientContext::Make({.system_roots = false,
                                    .min_version = TlsVersion::k1_3,
                                    .max_version = TlsVersion::k1_2})
                .status()
                .code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(TlsClientContext::Make({.system_roots = false, .alpn = {""}}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_TRUE(
      Says(TlsServerContext::Make({.identities = {ServerIdentity()},
                                   .client_certificates = ClientCertificates::kRequired})
               .status(),
           "no client_roots"));
}

// --- names (SNI) ---

GREENLET_TEST(TlsNamesTest, EachNameHasItsCertificate) {
  const auto named = [](const std::string& cn, std::vector<std::string> names) {
    return NewIdentity({.common_name = cn, .dns_names = std::move(names)});
  };
  TlsIdentity by_hand = named("by hand", {"c.test"});
  by_hand.names = {"other.test"};
  const TlsServerContext server = ServerContext(
      {.identities = {named("first", {"a.test"}), named("wild", {"*.b.test"}),
                      named("exact", {"x.b.test"}), by_hand}});
  const TlsClientContext client = ClientContext({.skip_verification = true});
  const auto shown = [&](const std::string& host) {
    TlsPair pair = TlsPair::Make(client, server, host);
    pair.MustHandshake();
    return pair.client.peer_certificate()->subject;
  };
  EXPECT_EQ(shown("a.test"), "CN=first");
  EXPECT_EQ(shown("y.b.test"), "CN=wild");
  EXPECT_EQ(shown("X.b.test"), "CN=exact");
  EXPECT_EQ(shown("b.test"), "CN=first");
  EXPECT_EQ(shown("z.y.b.test"), "CN=first");
  EXPECT_EQ(shown("other.test"), "CN=by hand");
  EXPECT_EQ(shown("c.test"), "CN=first");
  EXPECT_EQ(shown(""), "CN=first");
  EXPECT_EQ(shown("127.0.0.1"), "CN=first");
}

GREENLET_TEST(TlsNamesTest, UnknownNamesCanBeRefused) {
  const TlsServerContext server = ServerContext({.refuse_unknown_names = true});
  TlsPair unknown = TlsPair::Make(ClientContext(), server, "b.test");
  const auto [c, s] = unknown.Handshake();
  EXPECT_EQ(c.code(), StatusCode::kFailedPrecondition) << c;
  EXPECT_TRUE(Says(c, "unrecognized name")) << c;
  EXPECT_EQ(s.code(), StatusCode::kFailedPrecondition) << s;
  TlsPair::Make(ClientContext(), server, "a.test").MustHandshake();
  TlsPair::Make(ClientContext(), server, "127.0.0.1").MustHandshake();
}

// --- protocols (ALPN) ---

GREENLET_TEST(TlsAlpnTest, TheServersPreferenceDecides) {
  TlsPair pair = TlsPair::Make(ClientContext({.alpn = {"http/1.1", "h2"}}),
                               ServerContext({.alpn = {"h2", "http/1.1"}}));
  pair.MustHandshake();
  EXPECT_EQ(pair.client.alpn(), "h2");
  EXPECT_EQ(pair.server.alpn(), "h2");
}

GREENLET_TEST(TlsAlpnTest, NothingInCommonIsRefused) {
  TlsPair pair =
      TlsPair::Make(ClientContext({.alpn = {"spdy"}}), ServerContext({.alpn = {"h2"}}));
  const auto [c, s] = pair.Handshake();
  EXPECT_EQ(c.code(), StatusCode::kFailedPrecondition) << c;
  EXPECT_TRUE(Says(c, "no application protocol")) << c;
  EXPECT_EQ(s.code(), StatusCode::kFailedPrecondition) << s;
}

GREENLET_TEST(TlsAlpnTest, ASideThatSpeaksNoneIsContent) {
  TlsPair one = TlsPair::Make(ClientContext(), ServerContext({.alpn = {"h2"}}));
  one.MustHandshake();
  EXPECT_EQ(one.client.alpn(), "");
  TlsPair two = TlsPair::Make(ClientContext({.alpn = {"h2"}}), ServerContext());
  two.MustHandshake();
  EXPECT_EQ(two.server.alpn(), "");
}

// --- clients' certificates ---

TlsServerOptions AsksClients(ClientCertificates what) {
  return {.client_certificates = what, .client_roots = Authority().root()};
}

GREENLET_TEST(TlsClientCertificateTest, TheServerSeesWhoItIs) {
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    TlsPair pair = TlsPair::Make(
        ClientContext({.identity = NewIdentity({.common_name = "alice",
                                                .dns_names = {"alice.test"},
                                                .addresses = {"192.0.2.7"}}),
                       .max_version = version}),
        ServerContext(AsksClients(ClientCertificates::kRequired)));
    pair.MustHandshake();
    const auto alice = pair.server.peer_certificate();
    ASSERT_TRUE(alice.has_value());
    EXPECT_EQ(alice->subject, "CN=alice");
    EXPECT_EQ(alice->issuer, "CN=test root");
    EXPECT_EQ(alice->dns_names, std::vector<std::string>{"alice.test"});
    EXPECT_EQ(alice->addresses, std::vector<std::string>{"192.0.2.7"});
    EXPECT_EQ(alice->sha256.size(), 32u);
    EXPECT_LT(alice->not_before, absl::Now());
    EXPECT_GT(alice->not_after, absl::Now() + absl::Hours(23));
    ASSERT_EQ(pair.server.peer_chain().size(), 1u);
  }
}

GREENLET_TEST(TlsClientCertificateTest, NoneIsRefusedWhereOneIsRequired) {
  const TlsServerContext server =
      ServerContext(AsksClients(ClientCertificates::kRequired));
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    TlsPair pair = TlsPair::Make(ClientContext({.max_version = version}), server);
    const auto [c, s] = pair.Handshake();
    EXPECT_EQ(s.code(), StatusCode::kUnauthenticated) << s;
    EXPECT_TRUE(Says(s, "did not return a certificate")) << s;
    // With TLS 1.3 the client is done by then, and hears of it when it reads.
    char b[10];
    const absl::Status told = c.ok() ? pair.client.Read(absl::MakeSpan(b)).status() : c;
    EXPECT_FALSE(told.ok());
    EXPECT_TRUE(Says(told, "the peer refused")) << told;
  }
}

GREENLET_TEST(TlsClientCertificateTest, OneThatIsNotTrustedIsRefused) {
  const TestAuthority stranger("stranger");
  TlsPair pair =
      TlsPair::Make(ClientContext({.identity = stranger.Issue({.common_name = "eve"})}),
                    ServerContext(AsksClients(ClientCertificates::kRequested)));
  const absl::Status status = pair.Handshake().second;
  EXPECT_EQ(status.code(), StatusCode::kUnauthenticated) << status;
  EXPECT_TRUE(Says(status, "CN=eve")) << status;
}

GREENLET_TEST(TlsClientCertificateTest, WhereItIsOnlyRequestedNoneWillDo) {
  TlsPair pair = TlsPair::Make(
      ClientContext(), ServerContext(AsksClients(ClientCertificates::kRequested)));
  pair.MustHandshake();
  EXPECT_EQ(pair.server.peer_certificate(), std::nullopt);
}

// --- sessions ---

// A connection on which the server has said something, so that the client has got its
// tickets; whether it was resumed.
bool Resumes(const TlsClientContext& client, const TlsServerContext& server,
             const std::string& host = "a.test") {
  TlsPair pair = TlsPair::Make(client, server, host);
  pair.MustHandshake();
  EXPECT_TRUE(pair.server.Write("x").ok());
  EXPECT_EQ(ReadSome(pair.client), "x");
  EXPECT_EQ(pair.client.resumed(), pair.server.resumed());
  return pair.client.resumed();
}

class TlsSessionTest : public GreenletTest {
 protected:
  static TlsClientContext Client(TlsVersion version, size_t cache = 10) {
    return ClientContext({.max_version = version, .session_cache = cache});
  }
};

GREENLET_TEST_F(TlsSessionTest, AreResumedByNameOfTheServer) {
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    const TlsServerContext server = ServerContext();
    const TlsClientContext client = Client(version);
    EXPECT_FALSE(Resumes(client, server));
    EXPECT_TRUE(Resumes(client, server));
    EXPECT_TRUE(Resumes(client, server));
    EXPECT_FALSE(Resumes(client, server, "127.0.0.1"));
    EXPECT_FALSE(Resumes(Client(version), server)) << "another context, other sessions";
    EXPECT_FALSE(Resumes(client, ServerContext())) << "another server, other keys";
  }
}

GREENLET_TEST_F(TlsSessionTest, TheCacheIsBounded) {
  const TlsServerContext server = ServerContext();
  const TlsClientContext one = Client(TlsVersion::k1_3, 1);
  EXPECT_FALSE(Resumes(one, server));
  EXPECT_FALSE(Resumes(one, server, "127.0.0.1"));
  EXPECT_FALSE(Resumes(one, server)) << "made room for the other";
  const TlsClientContext none = Client(TlsVersion::k1_3, 0);
  EXPECT_FALSE(Resumes(none, server));
  EXPECT_FALSE(Resumes(none, server));
}

GREENLET_TEST_F(TlsSessionTest, AServerMayHaveNone) {
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    const TlsServerContext server = ServerContext({.session_tickets = false});
    const TlsClientContext client = Client(version);
    EXPECT_FALSE(Resumes(client, server));
    EXPECT_FALSE(Resumes(client, server));
  }
}

GREENLET_TEST_F(TlsSessionTest, ATicketOutlivesOneKeyAndNotTwo) {
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    const TlsServerContext server = ServerContext();
    const TlsClientContext client = Client(version);
    EXPECT_FALSE(Resumes(client, server));
    server.RotateTicketKey();
    EXPECT_TRUE(Resumes(client, server));
    server.RotateTicketKey();
    EXPECT_TRUE(Resumes(client, server)) << "the last connection gave a new one";
    server.RotateTicketKey();
    server.RotateTicketKey();
    EXPECT_FALSE(Resumes(client, server));
  }
}

GREENLET_TEST_F(TlsSessionTest, AResumedClientIsStillKnown) {
  const TlsServerContext server =
      ServerContext(AsksClients(ClientCertificates::kRequired));
  const TlsClientContext client =
      ClientContext({.identity = NewIdentity({.common_name = "alice"})});
  EXPECT_FALSE(Resumes(client, server));
  TlsPair pair = TlsPair::Make(client, server);
  pair.MustHandshake();
  EXPECT_TRUE(pair.server.resumed());
  EXPECT_EQ(pair.server.peer_certificate()->subject, "CN=alice");
  EXPECT_EQ(pair.client.peer_certificate()->subject, "CN=server");
}

// With other threads, which may wake the hub.
class TlsThreadsTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    // On a manual clock deadlines would pass while others work.
    return {.clock = Clock::Real(),
            .loop_exit = LoopExitPolicy::kNever,
            .check_descriptors = false};
  }
};

// Contexts are shared by hubs: one's tickets are good at the others'.
GREENLET_TEST_F(TlsThreadsTest, HubsShareContextsAndTicketKeys) {
  const TlsServerContext server = ServerContext();
  const TlsClientContext client = ClientContext();
  std::atomic<int> resumed{0};
  HubGroup group({.hubs = 3, .pin = false}, [&](int) {
    for (int i = 0; i < 40; ++i) {
      resumed += Resumes(client, server);
      EXPECT_TRUE(server.Reload().ok());
    }
  });
  group.Join();
  EXPECT_GE(resumed, 3 * 40 - 3);
}

// --- certificates that change ---

// A root that is not trusted any more vouches for nobody, be it by a session of before.
GREENLET_TEST(TlsReloadTest, SessionsEndWithTheRootsThatVouchedForThem) {
  const std::string roots = testing::TempDir() + "client_roots.pem";
  std::ofstream(roots) << Authority().root();
  TlsServerContext server = ServerContext(
      {.client_certificates = ClientCertificates::kRequired, .client_roots_file = roots});
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    std::ofstream(roots) << Authority().root();
    ASSERT_TRUE(server.Reload().ok());
    const TlsClientContext client =
        ClientContext({.identity = NewIdentity({.common_name = "client"}),
                       .max_version = version,
                       .session_cache = 10});
    EXPECT_FALSE(Resumes(client, server));
    EXPECT_TRUE(Resumes(client, server));
    ASSERT_TRUE(server.Reload().ok());
    EXPECT_TRUE(Resumes(client, server)) << "the same roots";
    std::ofstream(roots) << TestAuthority("another root").root();
    ASSERT_TRUE(server.Reload().ok());
    TlsPair pair = TlsPair::Make(client, server);
    const absl::Status refused = pair.Handshake().second;
    EXPECT_EQ(refused.code(), StatusCode::kUnauthenticated) << refused;
  }
}

GREENLET_TEST(TlsReloadTest, NewConnectionsTakeTheNewOnesAndSessionsGoOn) {
  const auto put = [](const TlsIdentity& identity) {
    WriteFile("chain.pem", identity.chain);
    WriteFile("key.pem", identity.key);
  };
  const TlsIdentity old = NewIdentity({.common_name = "old", .dns_names = {"a.test"}});
  put(old);
  const TlsServerContext server = ServerContext(
      {.identities = {{.chain_file = Path("chain.pem"), .key_file = Path("key.pem")}}});
  const TlsClientContext client = ClientContext();
  const auto shown = [&] {
    TlsPair pair = TlsPair::Make(ClientContext(), server);
    pair.MustHandshake();
    return pair.client.peer_certificate()->subject;
  };
  EXPECT_EQ(shown(), "CN=old");
  EXPECT_FALSE(Resumes(client, server));
  TlsPair begun = TlsPair::Make(client, server);

  put(NewIdentity({.common_name = "new", .dns_names = {"a.test"}}));
  EXPECT_EQ(shown(), "CN=old") << "not before it is told to";
  ASSERT_TRUE(server.Reload().ok());
  EXPECT_EQ(shown(), "CN=new");
  begun.MustHandshake();
  EXPECT_EQ(begun.client.peer_certificate()->subject, "CN=old");
  EXPECT_TRUE(Resumes(client, server));

  // The key of another one: nothing changes.
  WriteFile("key.pem", old.key);
  const absl::Status bad = server.Reload();
  EXPECT_EQ(bad.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Says(bad, "key.pem")) << bad;
  EXPECT_EQ(shown(), "CN=new");
  unlink(Path("chain.pem").c_str());
  EXPECT_EQ(server.Reload().code(), StatusCode::kNotFound);
  EXPECT_EQ(shown(), "CN=new");
}

// --- and the rest ---

GREENLET_TEST(TlsKeyLogTest, IsWrittenWhereTheOptionSaysOnly) {
  const Environment set("SSLKEYLOGFILE", Path("environment.log"));
  TlsPair::Make(ClientContext({.key_log_file = Path("client.log")}),
                ServerContext({.key_log_file = Path("server.log")}))
      .MustHandshake();
  const std::string client = ReadWhole(Path("client.log"));
  EXPECT_TRUE(absl::StrContains(client, "CLIENT_TRAFFIC_SECRET_0 ")) << client;
  EXPECT_TRUE(
      absl::StrContains(ReadWhole(Path("server.log")), "SERVER_TRAFFIC_SECRET_0 "));
  EXPECT_NE(access(Path("environment.log").c_str(), F_OK), 0);
  EXPECT_EQ(TlsClientContext::Make(
                {.system_roots = false, .key_log_file = "/nonexistent/folder/log"})
                .status()
                .code(),
            StatusCode::kNotFound);
}

GREENLET_TEST_F(TlsThreadsTest, SignaturesCanBeMadeInTheThreadPool) {
  const TlsIdentity rsa =
      NewIdentity({.common_name = "rsa", .dns_names = {"a.test"}, .rsa = true});
  for (const TlsVersion version : {TlsVersion::k1_2, TlsVersion::k1_3}) {
    const TlsServerContext server =
        ServerContext({.identities = {rsa}, .sign_in_thread_pool = true});
    const TlsClientContext client = ClientContext({.max_version = version});
    EXPECT_FALSE(Resumes(client, server));
    EXPECT_TRUE(Resumes(client, server));
  }
}

GREENLET_TEST_F(TlsThreadsTest, SignaturesWaitForTheThreadPool) {
  const TlsIdentity rsa =
      NewIdentity({.common_name = "rsa", .dns_names = {"a.test"}, .rsa = true});
  const TlsServerContext server =
      ServerContext({.identities = {rsa}, .sign_in_thread_pool = true});
  ThreadPool& pool = ThreadPool::Default();
  const int threads = pool.max_threads();
  pool.set_max_threads(1);
  std::promise<void> go_on;
  const auto busy = pool.Spawn([&] { go_on.get_future().wait(); });
  bool done = false;
  const Greenlet<> connects = Spawn([&] {
    EXPECT_FALSE(Resumes(ClientContext(), server));
    done = true;
  });
  while (pool.unfinished() < 2 && !done) Yield();
  for (int i = 0; i < 100; ++i) Yield();
  EXPECT_FALSE(done);
  go_on.set_value();
  connects.Join();
  EXPECT_TRUE(done);
  pool.set_max_threads(threads);
}

}  // namespace
}  // namespace grove::net
