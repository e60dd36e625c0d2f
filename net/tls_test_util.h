#ifndef GROVE_NET_TLS_TEST_UTIL_H_
#define GROVE_NET_TLS_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/testing/tls_certificates.h"
#include "grove/net/tls.h"
#include "grove/net/unix.h"

namespace grove::net {

// The authority of all tests of a program.
inline const TestAuthority& Authority() {
  static const TestAuthority* const authority = new TestAuthority;
  return *authority;
}

inline TlsIdentity NewIdentity(TestCertificate certificate) {
  return Authority().Issue(certificate);
}

// "a.test" and 127.0.0.1
inline const TlsIdentity& ServerIdentity() {
  static const TlsIdentity* const identity = new TlsIdentity(NewIdentity(
      {.common_name = "server", .dns_names = {"a.test"}, .addresses = {"127.0.0.1"}}));
  return *identity;
}

inline TlsServerContext ServerContext(TlsServerOptions options = {}) {
  if (options.identities.empty()) options.identities = {ServerIdentity()};
  absl::StatusOr<TlsServerContext> context = TlsServerContext::Make(std::move(options));
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

inline TlsClientContext ClientContext(TlsClientOptions options = {}) {
  options.system_roots = false;
  if (options.roots.empty()) options.roots = Authority().root();
  absl::StatusOr<TlsClientContext> context = TlsClientContext::Make(std::move(options));
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

// Both ends of a connection over a pair of sockets.
struct TlsPair {
  TlsStream client;
  TlsStream server;

  static TlsPair Make(const TlsClientContext& client, const TlsServerContext& server,
                      const std::string& host = "a.test") {
    auto [near, far] = *UnixStream::Pair();
    return {TlsStream(std::move(near), client, host), TlsStream(std::move(far), server)};
  }
  static TlsPair Make() { return Make(ClientContext(), ServerContext()); }

  // The handshake of both; what each says of it.
  std::pair<absl::Status, absl::Status> Handshake() {
    const Greenlet<absl::Status> other = Spawn([this] { return server.Handshake(); });
    absl::Status mine = client.Handshake();
    return {std::move(mine), other.Get()};
  }
  void MustHandshake() {
    const auto [c, s] = Handshake();
    EXPECT_TRUE(c.ok()) << c;
    EXPECT_TRUE(s.ok()) << s;
  }

  // Made, and past the handshake.
  static TlsPair Connected() {
    TlsPair pair = Make();
    pair.MustHandshake();
    return pair;
  }
};

// What one read gives.
inline std::string ReadSome(Stream& stream) {
  char buffer[4096];
  const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
  EXPECT_TRUE(n.ok()) << n.status();
  return std::string(buffer, n.ok() ? *n : 0);
}

// All up to the end.
inline absl::StatusOr<std::string> ReadAll(Stream& stream) {
  std::string all;
  std::string buffer(40000, 0);
  for (;;) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok()) return n.status();
    if (*n == 0) return all;
    all.append(buffer, 0, *n);
  }
}

// Bytes that do not repeat soon.
inline std::string Pattern(size_t size, uint32_t seed = 1) {
  std::string data(size, 0);
  for (char& c : data) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return data;
}

}  // namespace grove::net

#endif  // GROVE_NET_TLS_TEST_UTIL_H_
