#ifndef GROVE_NET_HTTP_ACCESS_LOG_H_
#define GROVE_NET_HTTP_ACCESS_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace grove::http {

// AccessRecord
//
// One request and its response, for HttpServerOptions::access_log. Views are good until
// the hook returns. Of a request that was refused before it was read, fields are empty.
struct AccessRecord {
  absl::string_view peer;  // "10.0.0.1:40312"
  absl::string_view method;
  absl::string_view target;
  absl::string_view host;
  absl::string_view referer;
  absl::string_view user_agent;
  int version_major = 1;
  int version_minor = 1;
  int status = 0;
  uint64_t body_bytes = 0;  // of the response
  absl::Time begin;
  absl::Duration duration;  // from the head's end to the handler's return
};

// FormatCommon(), FormatCombined(), FormatJson()
//
// A line of a log, without its end: the Common Log Format, the Combined one that adds
// Referer and User-Agent, and a JSON object. What a client has sent is escaped: it can
// neither end a line nor leave its quotes.
//
//   {.access_log = [](const AccessRecord& r) { puts(FormatCommon(r).c_str()); }}
std::string FormatCommon(const AccessRecord& record);
std::string FormatCombined(const AccessRecord& record);
std::string FormatJson(const AccessRecord& record);

// AccessLogFormat
//
// A line of one's own:
//
//   AccessLogFormat format("{client_ip} {method} {target} {status_code} {wall_seconds}");
//   {.access_log = [&](const AccessRecord& r) { puts(format.Format(r).c_str()); }}
//
// Names: client_ip, client_port, date_time (ISO 8601, UTC), request_line, method, target,
// host, version, status_code, body_length, wall_seconds (with six digits), referer,
// user_agent; "{{" is a brace. What a client has sent is escaped as in the formats above,
// and "-" if there is none: put it into quotes where it may have blanks. A name that is
// none of these, or a brace that is left open, is a fatal error.
//
// Threads: any, once it is made.
class AccessLogFormat {
 public:
  explicit AccessLogFormat(absl::string_view format);
  std::string Format(const AccessRecord& record) const;

 private:
  using Append = void (*)(const AccessRecord&, std::string*);
  struct Piece {
    std::string text;  // before the field
    Append append;     // null: none
  };
  std::vector<Piece> pieces_;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_ACCESS_LOG_H_
