#include "grove/net/internal/tls_error.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "grove/net/internal/tls_certificate.h"
#include "openssl/err.h"
#include "openssl/x509.h"

namespace grove::net::tls_internal {
namespace {

using absl::StatusCode;

// An alert that the peer has sent, as BoringSSL counts them among its reasons.
constexpr int kAlertOffset = 1000;

// BoringSSL shouts: "WRONG_VERSION_NUMBER".
std::string Text(uint32_t error) {
  const char* reason = ERR_reason_error_string(error);
  if (reason == nullptr) return absl::StrCat("error ", error);
  return absl::StrReplaceAll(absl::AsciiStrToLower(reason), {{"_", " "}});
}

StatusCode CodeOfAlert(int alert) {
  switch (alert) {
    case SSL_AD_NO_CERTIFICATE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_UNKNOWN_PSK_IDENTITY:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return StatusCode::kUnauthenticated;
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_PROTOCOL_VERSION:
    case SSL_AD_INSUFFICIENT_SECURITY:
    case SSL_AD_INAPPROPRIATE_FALLBACK:
    case SSL_AD_UNRECOGNIZED_NAME:
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return StatusCode::kFailedPrecondition;
    case SSL_AD_INTERNAL_ERROR:
    case SSL_AD_USER_CANCELLED:
      return StatusCode::kUnavailable;
    default:
      return StatusCode::kDataLoss;
  }
}

StatusCode CodeOfReason(int reason) {
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return StatusCode::kUnauthenticated;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUP:
    case SSL_R_NO_COMMON_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUPPORTED_VERSIONS_ENABLED:
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_INVALID_ALPN_PROTOCOL:
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_CLIENTHELLO_TLSEXT:  // what the look for the host's name has refused
      return StatusCode::kFailedPrecondition;
    default:
      return StatusCode::kDataLoss;
  }
}

// Why a certificate was refused.
std::string Refusal(const SSL* ssl, absl::string_view host) {
  const long result = SSL_get_verify_result(ssl);
  std::string text = absl::StrCat("its certificate was refused: ",
                                  X509_verify_cert_error_string(result));
  const bssl::UniquePtr<X509> leaf(SSL_get_peer_certificate(ssl));
  if (leaf == nullptr) return text;
  const TlsCertificate shown = Describe(*leaf);
  absl::StrAppend(&text, " (subject ", shown.subject, ", issuer ", shown.issuer);
  if (result == X509_V_ERR_HOSTNAME_MISMATCH ||
      result == X509_V_ERR_IP_ADDRESS_MISMATCH) {
    absl::StrAppend(&text, ", not for ", host, " but for ",
                    absl::StrJoin(shown.dns_names, ", "),
                    shown.dns_names.empty() || shown.addresses.empty() ? "" : ", ",
                    absl::StrJoin(shown.addresses, ", "));
  } else if (result == X509_V_ERR_CERT_HAS_EXPIRED) {
    absl::StrAppend(&text, ", valid until ", absl::FormatTime(shown.not_after));
  } else if (result == X509_V_ERR_CERT_NOT_YET_VALID) {
    absl::StrAppend(&text, ", valid from ", absl::FormatTime(shown.not_before));
  }
  return text + ")";
}

// The first error of the TLS layer is the cause; what stands before it came from layers
// below, where it may have been nothing special.
uint32_t TakeCause() {
  uint32_t cause = 0;
  while (const uint32_t error = ERR_get_error()) {
    if (cause == 0 ||
        (ERR_GET_LIB(cause) != ERR_LIB_SSL && ERR_GET_LIB(error) == ERR_LIB_SSL)) {
      cause = error;
    }
  }
  return cause;
}

}  // namespace

absl::Status TakeError(absl::string_view operation, const SSL* ssl,
                       absl::string_view host) {
  const uint32_t cause = TakeCause();
  const int reason = ERR_GET_REASON(cause);
  if (ERR_GET_LIB(cause) != ERR_LIB_SSL) {
    return absl::DataLossError(absl::StrCat(operation, ": ", Text(cause)));
  }
  if (reason > kAlertOffset) {
    const int alert = reason - kAlertOffset;
    return absl::Status(CodeOfAlert(alert),
                        absl::StrCat(operation, ": the peer refused: ",
                                     SSL_alert_desc_string_long(alert)));
  }
  std::string text = Text(cause);
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      if (ssl != nullptr) text = Refusal(ssl, host);
      break;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
      text = absl::StrCat("what came is not TLS: ", text);
      break;
    case SSL_R_CLIENTHELLO_TLSEXT:
      text = "the client asked for a name or a protocol that this server has not got";
      break;
    default:
      break;
  }
  return absl::Status(CodeOfReason(reason), absl::StrCat(operation, ": ", text));
}

std::string TakeReason() {
  const uint32_t cause = TakeCause();
  return cause == 0 ? "out of memory" : Text(cause);
}

absl::Status Annotate(const absl::Status& status, absl::string_view operation) {
  absl::Status annotated(status.code(), absl::StrCat(operation, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    annotated.SetPayload(type, payload);
  });
  return annotated;
}

}  // namespace grove::net::tls_internal
