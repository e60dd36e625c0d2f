#include "grove/net/http/preconditions.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "grove/net/http/date.h"

namespace grove::http {
namespace {

// Takes the next tag, with its "W/" and its quotes, off a list; empty if there is none,
// or what follows is none. A tag may have commas in it.
absl::string_view TakeTag(absl::string_view* list) {
  while (!list->empty() && (list->front() == ',' || absl::ascii_isspace(list->front()))) {
    list->remove_prefix(1);
  }
  const size_t quote = absl::StartsWith(*list, "W/") ? 2 : 0;
  if (list->size() <= quote || (*list)[quote] != '"') return {};
  const size_t end = list->find('"', quote + 1);
  if (end == list->npos) return {};
  const absl::string_view tag = list->substr(0, end + 1);
  list->remove_prefix(end + 1);
  return tag;
}

bool IsWeak(absl::string_view tag) { return absl::StartsWith(tag, "W/"); }

bool SameTag(absl::string_view a, absl::string_view b, bool strong) {
  if (strong) return !IsWeak(a) && a == b;
  if (IsWeak(a)) a.remove_prefix(2);
  if (IsWeak(b)) b.remove_prefix(2);
  return a == b;
}

// Of a field that may be there several times: whether any of its tags is this one.
// Nothing if there is no such field.
std::optional<bool> Matches(const Request& request, absl::string_view name,
                            absl::string_view etag, bool strong) {
  std::optional<bool> matches;
  for (const Field& f : request.headers()) {
    if (!absl::EqualsIgnoreCase(f.name, name)) continue;
    matches = matches.value_or(false) || f.value == "*";
    absl::string_view list = f.value;
    for (;;) {
      const absl::string_view tag = TakeTag(&list);
      if (tag.empty()) break;
      if (!etag.empty() && SameTag(tag, etag, strong)) matches = true;
    }
  }
  return matches;
}

std::optional<time_t> DateIn(const Request& request, absl::string_view name) {
  const std::optional<absl::string_view> text = request.headers().Get(name);
  return text.has_value() ? ParseDate(*text) : std::nullopt;
}

}  // namespace

Precondition CheckPreconditions(const Request& request, absl::string_view etag,
                                std::optional<time_t> modified) {
  const bool reads = request.method() == "GET" || request.method() == "HEAD";
  if (const auto match = Matches(request, "If-Match", etag, /*strong=*/true)) {
    if (!*match) return Precondition::kFailed;
  } else if (const auto date = DateIn(request, "If-Unmodified-Since")) {
    if (modified.has_value() && *modified > *date) return Precondition::kFailed;
  }
  if (const auto match = Matches(request, "If-None-Match", etag, /*strong=*/false)) {
    if (*match) return reads ? Precondition::kNotModified : Precondition::kFailed;
  } else if (const auto date = DateIn(request, "If-Modified-Since"); date && reads) {
    if (modified.has_value() && *modified <= *date) return Precondition::kNotModified;
  }
  return Precondition::kHolds;
}

bool RangeHolds(const Request& request, absl::string_view etag,
                std::optional<time_t> modified, time_t now) {
  const std::optional<absl::string_view> condition = request.headers().Get("If-Range");
  if (!condition.has_value()) return true;
  absl::string_view text = *condition;
  if (const absl::string_view tag = TakeTag(&text); !tag.empty()) {
    return text.empty() && SameTag(tag, etag, /*strong=*/true);
  }
  const std::optional<time_t> date = ParseDate(*condition);
  return date.has_value() && modified == date && *modified < now;
}

}  // namespace grove::http
