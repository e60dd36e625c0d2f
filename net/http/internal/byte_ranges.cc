#include "grove/net/http/internal/byte_ranges.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace grove::http::http_internal {
namespace {

// What stands around a part.
constexpr uint64_t kOverhead = 80;

// More than 64 bits are as good as the largest number.
bool ParseNumber(absl::string_view text, uint64_t* number) {
  if (text.empty()) return false;
  for (char c : text) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  if (!absl::SimpleAtoi(text, number)) *number = ~uint64_t{0};
  return true;
}

enum class Spec { kMalformed, kOutside, kInside };

Spec ParseSpec(absl::string_view text, uint64_t size, ByteRange* range) {
  const size_t dash = text.find('-');
  if (dash == text.npos) return Spec::kMalformed;
  const absl::string_view first = text.substr(0, dash);
  const absl::string_view last = text.substr(dash + 1);
  uint64_t from = 0;
  uint64_t to = ~uint64_t{0};
  if (first.empty()) {
    if (!ParseNumber(last, &to)) return Spec::kMalformed;
    if (to == 0 || size == 0) return Spec::kOutside;
    const uint64_t count = std::min(to, size);
    *range = {size - count, count};
    return Spec::kInside;
  }
  if (!ParseNumber(first, &from)) return Spec::kMalformed;
  if (!last.empty() && (!ParseNumber(last, &to) || to < from)) return Spec::kMalformed;
  if (from >= size) return Spec::kOutside;
  *range = {from, std::min(to, size - 1) - from + 1};
  return Spec::kInside;
}

bool AreNear(const ByteRange& a, const ByteRange& b) {
  return a.first <= b.first + b.count + kOverhead &&
         b.first <= a.first + a.count + kOverhead;
}

// Takes the place of the first one that it is near to.
void Add(ByteRange range, std::vector<ByteRange>* parts) {
  size_t place = parts->size();
  for (size_t i = 0; i < parts->size();) {
    const ByteRange other = (*parts)[i];
    if (!AreNear(range, other)) {
      ++i;
      continue;
    }
    const uint64_t end = std::max(range.first + range.count, other.first + other.count);
    range.first = std::min(range.first, other.first);
    range.count = end - range.first;
    parts->erase(parts->begin() + static_cast<ptrdiff_t>(i));
    place = std::min(place, i);
    i = 0;  // it is larger now
  }
  place = std::min(place, parts->size());
  parts->insert(parts->begin() + static_cast<ptrdiff_t>(place), range);
}

}  // namespace

RangeKind ParseRanges(absl::string_view text, uint64_t size, size_t most,
                      std::vector<ByteRange>* parts) {
  parts->clear();
  if (!absl::StartsWithIgnoreCase(text, "bytes=")) return RangeKind::kWhole;
  text.remove_prefix(6);
  size_t specs = 0;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const absl::string_view spec = absl::StripAsciiWhitespace(text.substr(0, comma));
    text.remove_prefix(comma == text.npos ? text.size() : comma + 1);
    if (spec.empty()) continue;
    if (++specs > most) return RangeKind::kWhole;
    ByteRange range{};
    switch (ParseSpec(spec, size, &range)) {
      case Spec::kMalformed:
        return RangeKind::kWhole;
      case Spec::kOutside:
        break;
      case Spec::kInside:
        Add(range, parts);
        break;
    }
  }
  if (specs == 0) return RangeKind::kWhole;
  return parts->empty() ? RangeKind::kNone : RangeKind::kParts;
}

}  // namespace grove::http::http_internal
