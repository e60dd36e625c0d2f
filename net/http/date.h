#ifndef GROVE_NET_HTTP_DATE_H_
#define GROVE_NET_HTTP_DATE_H_

#include <time.h>

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace grove::http {

// FormatDate(), ParseDate()
//
// Seconds since 1970 as HTTP writes them: "Sun, 06 Nov 1994 08:49:37 GMT". Of what others
// write only this form is read, which is that of the last twenty-five years.
//
//   response.headers().Set("Expires", FormatDate(time(nullptr) + 3600));
std::string FormatDate(time_t seconds);
std::optional<time_t> ParseDate(absl::string_view text);

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
