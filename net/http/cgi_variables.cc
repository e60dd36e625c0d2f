#include "grove/net/http/cgi_variables.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grove::http {
namespace {

// "host" and "80" of "host:80"; "::1" and "80" of "[::1]:80".
std::pair<absl::string_view, absl::string_view> SplitPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  absl::string_view port;
  if (colon != text.npos && text.find(']', colon) == text.npos) {
    port = text.substr(colon + 1);
    text = text.substr(0, colon);
  }
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  return {text, port};
}

// Empty for what is left out.
std::string NameOf(absl::string_view field) {
  if (absl::StrContains(field, '_') || absl::EqualsIgnoreCase(field, "Proxy")) return {};
  std::string name = absl::AsciiStrToUpper(field);
  std::replace(name.begin(), name.end(), '-', '_');
  if (name == "CONTENT_TYPE" || name == "CONTENT_LENGTH") return name;
  return absl::StrCat("HTTP_", name);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> CgiVariables(const Request& request) {
  const auto [host, host_port] = SplitPort(request.host());
  const auto [peer, peer_port] = SplitPort(request.peer());
  const absl::string_view port = !host_port.empty() ? host_port
                                 : request.secure() ? "443"
                                                    : "80";
  std::vector<std::pair<std::string, std::string>> all = {
      {"GATEWAY_INTERFACE", "CGI/1.1"},
      {"REQUEST_METHOD", std::string(request.method())},
      {"SCRIPT_NAME", ""},
      {"PATH_INFO", DecodePercent(request.path()).value_or("")},
      {"QUERY_STRING", std::string(request.query())},
      {"REQUEST_URI", std::string(request.target())},
      {"SERVER_PROTOCOL",
       absl::StrCat("HTTP/", request.version_major(), ".", request.version_minor())},
      {"SERVER_NAME", std::string(host)},
      {"SERVER_PORT", std::string(port)},
      {"REMOTE_ADDR", std::string(peer)},
      {"REMOTE_PORT", std::string(peer_port)},
  };
  if (request.secure()) all.emplace_back("HTTPS", "on");
  const size_t fixed = all.size();
  for (const Field& f : request.headers()) {
    std::string name = NameOf(f.name);
    if (name.empty()) continue;
    const auto same =
        std::find_if(all.begin() + static_cast<ptrdiff_t>(fixed), all.end(),
                     [&](const auto& variable) { return variable.first == name; });
    if (same == all.end()) {
      all.emplace_back(std::move(name), f.value);
    } else {
      absl::StrAppend(&same->second, name == "HTTP_COOKIE" ? "; " : ",", f.value);
    }
  }
  return all;
}

}  // namespace grove::http
