#ifndef GROVE_NET_TLS_CERTIFICATE_H_
#define GROVE_NET_TLS_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace grove::net {

// TlsCertificate
//
// What stands in a peer's certificate. It was verified, unless the context says that it
// is not to be (TlsClientOptions::skip_verification).
//
//   if (std::optional<TlsCertificate> c = stream.peer_certificate()) Log(c->subject);
struct TlsCertificate {
  std::string subject;                 // "CN=alice,O=Example"
  std::string issuer;                  // the same
  std::vector<std::string> dns_names;  // as they stand there, "*.example.com"
  std::vector<std::string> addresses;  // "192.0.2.1"
  absl::Time not_before, not_after;    // the first and the last moment it is valid
  std::string sha256;                  // of all of it, 32 bytes
};

}  // namespace grove::net

#endif  // GROVE_NET_TLS_CERTIFICATE_H_
