#ifndef GROVE_NET_TLS_OPTIONS_H_
#define GROVE_NET_TLS_OPTIONS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

// What a TLS context is made of; see tls_context.h.
namespace grove::net {

enum class TlsVersion { k1_2, k1_3 };

// TlsIdentity
//
// A certificate with those that vouch for it, leaf first, and the leaf's private key, in
// PEM: as text, or as files, which are read when the context is made and at each
// TlsServerContext::Reload(). The key must not be encrypted.
//
//   TlsIdentity{.chain_file = "fullchain.pem", .key_file = "privkey.pem"}
struct TlsIdentity {
  std::string chain = {};
  std::string key = {};
  std::string chain_file = {};
  std::string key_file = {};
  // The host names that a server shows it for: "example.com", "*.example.com" (one label
  // in place of the star). If empty, those that stand in the certificate.
  std::vector<std::string> names = {};
};

// TlsClientOptions
//
// As it is: the server's certificate must be valid for the host, and lead to a root that
// the system trusts.
struct TlsClientOptions {
  // The system's: the file that SSL_CERT_FILE names and the folders that SSL_CERT_DIR
  // names (with a colon between them); if neither is set, the first of the files in which
  // distributions keep them. None found is an error of TlsClientContext::Make().
  bool system_roots = true;
  // More of them, in PEM: as text, and as a file.
  std::string roots = {};
  std::string roots_file = {};
  // Whoever answers is believed. For tests and measurements; what is encrypted for a
  // stranger is not secret.
  bool skip_verification = false;
  // What a server that asks for a certificate is shown.
  std::optional<TlsIdentity> identity = {};
  // The protocols to offer (ALPN), the best first: {"h2", "http/1.1"}.
  std::vector<std::string> alpn = {};
  TlsVersion min_version = TlsVersion::k1_2;
  TlsVersion max_version = TlsVersion::k1_3;
  // For so many servers sessions are kept, so that the next handshake with them is
  // cheaper. 0: none.
  size_t session_cache = 1024;
  // For one handshake, if its deadline is not earlier.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // Where secrets are appended, in the format of SSLKEYLOGFILE, for debuggers that are to
  // read along. Never taken from the environment.
  std::string key_log_file = {};
};

// What a server asks of its clients.
enum class ClientCertificates {
  kIgnored,
  kRequested,  // one that is shown must be valid
  kRequired,
};

// TlsServerOptions
struct TlsServerOptions {
  // At least one. The first is shown to who names no host, or one that none is for.
  std::vector<TlsIdentity> identities = {};
  // Who names a host that none is for is refused (alert unrecognized_name).
  bool refuse_unknown_names = false;
  ClientCertificates client_certificates = ClientCertificates::kIgnored;
  // Whom clients' certificates must lead to, in PEM: as text, and as a file. The system's
  // roots have no say in it.
  std::string client_roots = {};
  std::string client_roots_file = {};
  // The protocols it speaks (ALPN), the best first. A client that offers some, but none
  // of these, is refused (alert no_application_protocol). If empty, what clients offer is
  // ignored.
  std::vector<std::string> alpn = {};
  TlsVersion min_version = TlsVersion::k1_2;
  TlsVersion max_version = TlsVersion::k1_3;
  // Sessions are resumed by tickets that only this context can read. Its hubs share the
  // keys. A key makes tickets for ticket_key_lifetime, and reads them for as long again.
  bool session_tickets = true;
  absl::Duration ticket_key_lifetime = absl::Hours(12);
  // Signing by an RSA key takes a millisecond or so, in which the hub does nothing else.
  // With this it is done in ThreadPool::Default(): more CPU in all, less delay for
  // others.
  bool sign_in_thread_pool = false;
  // As those of TlsClientOptions.
  absl::Duration handshake_timeout = absl::Seconds(10);
  std::string key_log_file = {};
};

}  // namespace grove::net

#endif  // GROVE_NET_TLS_OPTIONS_H_
