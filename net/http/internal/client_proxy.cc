#include "grove/net/http/internal/client_proxy.h"

#include <stdlib.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "grove/net/address.h"
#include "grove/net/http/client.h"
#include "grove/net/http/request.h"

namespace grove::http::http_internal {
namespace {

// The first that is set, and not empty.
std::string FromEnvironment(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

}  // namespace

absl::StatusOr<Proxy> ParseProxy(absl::string_view text) {
  std::string url(text);
  if (!absl::StrContains(url, "://")) url = absl::StrCat("http://", url);
  Proxy proxy;
  const size_t begin = url.find("://") + 3;
  const size_t end = std::min(url.find_first_of("/?#", begin), url.size());
  const size_t at = url.substr(0, end).rfind('@');
  if (at != url.npos && at >= begin) {
    const std::string info = url.substr(begin, at - begin);
    const size_t colon = std::min(info.find(':'), info.size());
    const auto user = DecodePercent(absl::string_view(info).substr(0, colon));
    const auto password =
        DecodePercent(absl::string_view(info).substr(std::min(colon + 1, info.size())));
    if (!user || !password || absl::StrContains(*user, ':')) {
      return absl::InvalidArgumentError("proxy: its userinfo is none");
    }
    proxy.authorization = BasicAuthorization(*user, *password);
    url.erase(begin, at + 1 - begin);
  }
  absl::StatusOr<Url> parsed = Url::Parse(url);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("proxy: ", parsed.status().message()));
  }
  if (parsed->secure()) {
    return absl::InvalidArgumentError("proxy: only http:// is spoken to proxies");
  }
  if (parsed->target() != "/") return absl::InvalidArgumentError("proxy: it has a path");
  proxy.url = *std::move(parsed);
  return proxy;
}

absl::StatusOr<ProxyRules> ProxyRules::Make(const HttpClientOptions& options) {
  std::string http = options.proxy;
  std::string https = options.proxy;
  std::string exclusions = options.no_proxy;
  if (options.proxy_from_environment) {
    if (http.empty()) http = FromEnvironment({"http_proxy", "all_proxy", "ALL_PROXY"});
    if (https.empty()) {
      https = FromEnvironment({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"});
    }
    if (exclusions.empty()) exclusions = FromEnvironment({"no_proxy", "NO_PROXY"});
  }
  ProxyRules rules;
  for (auto [text, list] : {std::pair{&http, &rules.http_}, {&https, &rules.https_}}) {
    if (text->empty()) continue;
    absl::StatusOr<Proxy> proxy = ParseProxy(*text);
    if (!proxy.ok()) return proxy.status();
    list->push_back(*std::move(proxy));
  }
  rules.AddExclusions(exclusions);
  return rules;
}

void ProxyRules::AddExclusions(absl::string_view text) {
  for (absl::string_view part : absl::StrSplit(text, absl::ByAnyChar(", \t"))) {
    if (part.empty()) continue;
    if (part == "*") excludes_all_ = true;
    Exclusion exclusion{.host = "", .port = 0};
    const size_t colon = part.rfind(':');
    uint32_t port = 0;
    // "a:80" and "[::1]:80", but not "::1".
    if (colon != part.npos &&
        (part.find(':') == colon || (colon > 0 && part[colon - 1] == ']')) &&
        absl::SimpleAtoi(part.substr(colon + 1), &port) && port <= 65535) {
      exclusion.port = static_cast<uint16_t>(port);
      part = part.substr(0, colon);
    }
    absl::ConsumePrefix(&part, ".");
    if (absl::ConsumePrefix(&part, "[")) absl::ConsumeSuffix(&part, "]");
    exclusion.host = absl::AsciiStrToLower(part);
    const absl::StatusOr<net::Address> address = net::Address::FromIp(exclusion.host, 1);
    if (address.ok()) exclusion.host = address->ip();
    exclusions_.push_back(std::move(exclusion));
  }
}

bool ProxyRules::Excluded(const Url& url) const {
  if (excludes_all_) return true;
  const bool is_address = net::Address::FromIp(url.host(), 1).ok();
  absl::string_view host = url.host();
  absl::ConsumeSuffix(&host, ".");
  for (const Exclusion& e : exclusions_) {
    if (e.port != 0 && e.port != url.port()) continue;
    if (host == e.host) return true;
    if (!is_address && absl::EndsWith(host, absl::StrCat(".", e.host))) return true;
  }
  return false;
}

const Proxy* ProxyRules::For(const Url& url) const {
  const std::vector<Proxy>& list = url.secure() ? https_ : http_;
  return list.empty() || Excluded(url) ? nullptr : &list[0];
}

}  // namespace grove::http::http_internal
