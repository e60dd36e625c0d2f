#ifndef GROVE_NET_HTTP_CLIENT_TLS_H_
#define GROVE_NET_HTTP_CLIENT_TLS_H_

#include "grove/net/http/client_options.h"
#include "grove/net/tls_context.h"

namespace grove::http {

// SecureByTls()
//
// https for an HttpClient, by BoringSSL. A target of its own, //net/http:client_tls,
// since not every process may have that in it.
//
//   absl::StatusOr<net::TlsClientContext> tls =
//       net::TlsClientContext::Make({.alpn = {"http/1.1"}});
//   HttpClient client({.secure = SecureByTls(*tls)});
//   client.Get("https://example.org/");
//
// The certificate must be one for the URL's host. A connection that ends without TLS
// saying so is kDataLoss, also where the end of a body is that of its connection.
ClientSecurer SecureByTls(net::TlsClientContext context);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CLIENT_TLS_H_
