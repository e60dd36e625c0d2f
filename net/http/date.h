#ifndef GROVE_NET_HTTP_DATE_H_
#define GROVE_NET_HTTP_DATE_H_

#include <time.h>

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace grove::http {

// FormatDate(), ParseDate()
//
// Seconds since 1970 as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT". What is read
// has this form, or one of those of last century (RFC 9110, 5.6.7): "Sunday, 06-Nov-94
// 08:49:37 GMT", in which a year that would be more than fifty after `now` is one of the
// past, and "Sun Nov  6 08:49:37 1994".
//
//   response.headers().Set("Expires", FormatDate(time(nullptr) + 3600));
std::string FormatDate(time_t seconds);
std::optional<time_t> ParseDate(absl::string_view text, time_t now = time(nullptr));

// DateCache
//
// The date of now, formatted once a second. Threads: one.
class DateCache {
 public:
  // Good until the next call.
  absl::string_view Now();

 private:
  time_t second_ = -1;
  std::string text_;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_DATE_H_
