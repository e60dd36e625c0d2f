#ifndef GROVE_NET_TESTING_TLS_CERTIFICATES_H_
#define GROVE_NET_TESTING_TLS_CERTIFICATES_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "grove/net/tls_options.h"

// Certificates that a test makes for itself, so that no key is kept anywhere.
namespace grove::net {

// TestCertificate
struct TestCertificate {
  std::string common_name = "test";
  std::vector<std::string> dns_names = {};
  std::vector<std::string> addresses = {};  // "127.0.0.1", "::1"
  // From now.
  absl::Duration valid_from = -absl::Hours(1);
  absl::Duration valid_until = absl::Hours(24);
  bool rsa = false;  // 2048 bits, in place of P-256, which is much quicker to make
};

// TestAuthority
//
// Issues certificates, which are trusted by whoever trusts root().
//
//   TestAuthority authority;
//   TlsServerContext::Make({.identities = {authority.Issue({.dns_names = {"a.test"}})}});
//   TlsClientContext::Make({.system_roots = false, .roots = authority.root()});
//
// Threads: any, one at a time.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name = "test root");
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;
  ~TestAuthority();

  // Its own certificate, in PEM.
  const std::string& root() const { return root_; }
  // A certificate by it, and its key, as text.
  TlsIdentity Issue(const TestCertificate& certificate) const;
  // One that nobody has signed but itself.
  static TlsIdentity SelfSigned(const TestCertificate& certificate);

 private:
  struct Keys;
  Keys* const keys_;
  std::string root_;
};

}  // namespace grove::net

#endif  // GROVE_NET_TESTING_TLS_CERTIFICATES_H_
