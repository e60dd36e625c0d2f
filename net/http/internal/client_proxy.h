#ifndef GROVE_NET_HTTP_INTERNAL_CLIENT_PROXY_H_
#define GROVE_NET_HTTP_INTERNAL_CLIENT_PROXY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/http/client_options.h"
#include "grove/net/http/url.h"

namespace grove::http::http_internal {

struct Proxy {
  Url url;
  std::string authorization;  // the value of Proxy-Authorization; empty: none
};

// "http://user:password@host:3128". Errors do not quote it.
absl::StatusOr<Proxy> ParseProxy(absl::string_view text);

// ProxyRules
//
// Which proxy a URL is asked through.
class ProxyRules {
 public:
  static absl::StatusOr<ProxyRules> Make(const HttpClientOptions& options);

  // Null: none.
  const Proxy* For(const Url& url) const;

 private:
  struct Exclusion {
    std::string host;  // in lower case, without a leading dot
    uint16_t port;     // 0: any
  };
  void AddExclusions(absl::string_view text);
  bool Excluded(const Url& url) const;

  std::vector<Proxy> http_;  // one or none
  std::vector<Proxy> https_;
  std::vector<Exclusion> exclusions_;
  bool excludes_all_ = false;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CLIENT_PROXY_H_
