#include "grove/net/http/date.h"

#include <stdio.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace grove::http {
namespace {

constexpr absl::string_view kDays = "SunMonTueWedThuFriSat";
constexpr absl::string_view kLongDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                           "Thursday", "Friday", "Saturday"};
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

namespace {

std::optional<time_t> ParseFixdate(absl::string_view text) {
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

// The same date as above.
std::optional<time_t> ParseAsctime(absl::string_view text) {
  // Sun Nov  6 08:49:37 1994
  if (text.size() != 24 || text[3] != ' ' || text[7] != ' ' || text[10] != ' ' ||
      text[19] != ' ') {
    return std::nullopt;
  }
  std::string day(text.substr(8, 2));
  if (day[0] == ' ') day[0] = '0';
  return ParseFixdate(absl::StrCat(text.substr(0, 3), ", ", day, text.substr(3, 5),
                                   text.substr(20), text.substr(10, 9), " GMT"));
}

std::optional<time_t> ParseRfc850(absl::string_view text, time_t now) {
  // Sunday, 06-Nov-94 08:49:37 GMT
  const size_t comma = text.find(',');
  if (comma == text.npos) return std::nullopt;
  const absl::string_view day = text.substr(0, comma);
  const absl::string_view rest = text.substr(comma);
  int year = 0;
  if (rest.size() != 24 || rest[4] != '-' || rest[8] != '-' ||
      std::find(std::begin(kLongDays), std::end(kLongDays), day) == std::end(kLongDays) ||
      !TakeNumber(rest.substr(9, 2), &year)) {
    return std::nullopt;
  }
  tm t{};
  gmtime_r(&now, &t);
  const int this_year = t.tm_year + 1900;
  year += this_year / 100 * 100;
  if (year > this_year + 50) {
    year -= 100;
  } else if (year <= this_year - 50) {
    year += 100;
  }
  return ParseFixdate(absl::StrCat(day.substr(0, 3), rest.substr(0, 4), " ",
                                   rest.substr(5, 3), " ", year, rest.substr(11)));
}

}  // namespace

std::optional<time_t> ParseDate(absl::string_view text, time_t now) {
  if (const std::optional<time_t> date = ParseFixdate(text)) return date;
  if (const std::optional<time_t> date = ParseAsctime(text)) return date;
  return ParseRfc850(text, now);
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
