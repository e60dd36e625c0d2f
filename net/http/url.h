#ifndef GROVE_NET_HTTP_URL_H_
#define GROVE_NET_HTTP_URL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grove::http {

// Url
//
// An absolute URL of http or https (RFC 3986; RFC 9110, 4.2), as a client needs it. To
// the letter: two programs must not see two hosts in it.
//
//   absl::StatusOr<Url> url = Url::Parse("https://example.org:8443/a?b=c");
//   url->host(), url->port(), url->target()     // "example.org", 8443, "/a?b=c"
//
// What is refused, beside what the grammar refuses:
// - userinfo ("http://user:password@host/"): it hides hosts, and passwords do not belong
//   into URLs (RFC 9110, 4.2.4);
// - hosts with anything but letters, digits, '-', '_' and '.', percent-encoded ones too;
//   addresses that are written in other forms than inet_pton(3)'s ("127.1",
//   "0x7f000001"), and those with a zone;
// - port 0, and whatever is longer than 64 KiB.
//
// A fragment is dropped: it is nobody's business but the client's.
class Url {
 public:
  static constexpr size_t kMaxSize = 64 << 10;

  // Url::Parse()
  //
  // kInvalidArgument, which does not quote the text: there may be a secret in it.
  static absl::StatusOr<Url> Parse(absl::string_view text);

  // Url::Resolve()
  //
  // What a reference means that stands in what this URL has led to (RFC 3986, 5.2): a
  // Location's value. Blanks and bytes beyond ASCII, which servers do send there, are
  // percent-encoded.
  absl::StatusOr<Url> Resolve(absl::string_view reference) const;

  bool secure() const { return secure_; }
  absl::string_view scheme() const { return secure_ ? "https" : "http"; }
  // In lower case; an IPv6 address without brackets.
  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // "example.org", "[::1]:8080": what belongs into Host; without a port that is the
  // scheme's own.
  std::string authority() const;
  // "example.org:80": always with a port.
  std::string host_and_port() const;
  // "http://example.org:80"
  std::string origin() const;
  // "/a%20b", at least "/".
  const std::string& path() const { return path_; }
  // "/a%20b?x=1"
  std::string target() const { return path_ + query_; }

  std::string ToString() const;
  // For messages and logs: of the query only the size.
  std::string ForLog() const;

  // Same scheme, host and port (RFC 6454, 4).
  bool SameOrigin(const Url& other) const {
    return secure_ == other.secure_ && port_ == other.port_ && host_ == other.host_;
  }

 private:
  absl::Status ParseAuthority(absl::string_view authority);
  absl::Status ParseHost(absl::string_view host);
  void SetTarget(absl::string_view path, absl::string_view query);

  bool secure_ = false;
  bool bracketed_ = false;
  std::string host_;
  uint16_t port_ = 0;
  std::string path_ = "/";
  std::string query_;  // with its '?'
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_URL_H_
