#include "grove/net/http/date.h"

#include <stdio.h>

#include <algorithm>

#include "absl/strings/numbers.h"

namespace grove::http {
namespace {

constexpr absl::string_view kDays = "SunMonTueWedThuFriSat";
constexpr absl::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";

bool TakeNumber(absl::string_view text, int* number) {
  for (char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return absl::SimpleAtoi(text, number);
}

}  // namespace

std::string FormatDate(time_t seconds) {
  tm t{};
  gmtime_r(&seconds, &t);
  // Not strftime(), whose words are those of the process's locale.
  char text[64];
  const int n =
      snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
               kDays.data() + 3 * t.tm_wday, t.tm_mday, kMonths.data() + 3 * t.tm_mon,
               t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
  return std::string(text, static_cast<size_t>(std::clamp(n, 0, 63)));
}

std::optional<time_t> ParseDate(absl::string_view text) {
  // Sun, 06 Nov 1994 08:49:37 GMT
  if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT" ||
      text[7] != ' ' || text[11] != ' ' || text[16] != ' ' || text[19] != ':' ||
      text[22] != ':') {
    return std::nullopt;
  }
  tm t{};
  const size_t month = kMonths.find(text.substr(8, 3));
  if (month == kMonths.npos || month % 3 != 0 ||
      !TakeNumber(text.substr(5, 2), &t.tm_mday) ||
      !TakeNumber(text.substr(12, 4), &t.tm_year) ||
      !TakeNumber(text.substr(17, 2), &t.tm_hour) ||
      !TakeNumber(text.substr(20, 2), &t.tm_min) ||
      !TakeNumber(text.substr(23, 2), &t.tm_sec)) {
    return std::nullopt;
  }
  t.tm_mon = static_cast<int>(month / 3);
  t.tm_year -= 1900;
  const time_t seconds = timegm(&t);
  // What timegm() puts right, such as the 31st of February, is no date.
  if (FormatDate(seconds) != text) return std::nullopt;
  return seconds;
}

absl::string_view DateCache::Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != second_) {
    second_ = now.tv_sec;
    text_ = FormatDate(second_);
  }
  return text_;
}

}  // namespace grove::http
