#ifndef GROVE_NET_INTERNAL_TLS_CERTIFICATE_H_
#define GROVE_NET_INTERNAL_TLS_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/tls_certificate.h"
#include "grove/net/tls_options.h"
#include "openssl/evp.h"
#include "openssl/x509.h"

// Certificates and keys, out of PEM and for people to read.
namespace grove::net::tls_internal {

TlsCertificate Describe(const X509& certificate);
std::string Der(const X509& certificate);

// The contents of a file; the status names it. Blocks the thread.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// All certificates in `pem`; what stands between them is ignored. `source` names it in
// errors. None is an error.
absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> ParseCertificates(
    absl::string_view pem, absl::string_view source);

// A TlsIdentity, read and found to be sound: the key is that of the first certificate.
struct Identity {
  std::vector<bssl::UniquePtr<X509>> chain;
  bssl::UniquePtr<EVP_PKEY> key;
  std::vector<std::string> names;  // in lower case
};
absl::StatusOr<Identity> LoadIdentity(const TlsIdentity& identity);

// Puts certificates that are trusted into `store`: those of a text and of a file, either
// of which may be empty.
absl::Status AddRoots(X509_STORE* store, const std::string& text,
                      const std::string& file);
// Those of the system; see TlsClientOptions::system_roots.
absl::Status AddSystemRoots(X509_STORE* store);

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_CERTIFICATE_H_
