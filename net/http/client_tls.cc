#include "grove/net/http/client_tls.h"

#include <memory>
#include <string>
#include <utility>

#include "grove/net/tls.h"

namespace grove::http {

ClientSecurer SecureByTls(net::TlsClientContext context) {
  return [context = std::move(context)](
             std::unique_ptr<net::Stream> stream, const std::string& host,
             Deadline deadline) -> absl::StatusOr<SecuredStream> {
    auto tls = std::make_unique<net::TlsStream>(std::move(stream), context, host);
    if (absl::Status s = tls->Handshake(deadline); !s.ok()) return s;
    std::string alpn = tls->alpn();
    return SecuredStream{.stream = std::move(tls), .alpn = std::move(alpn)};
  };
}

}  // namespace grove::http
