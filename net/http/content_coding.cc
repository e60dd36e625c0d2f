#include "grove/net/http/content_coding.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grove::http {
namespace {

// "0.5" -> 500; 0 to 1 with up to three digits (RFC 9110, 12.4.2).
std::optional<int> ParseWeight(absl::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) {
    return std::nullopt;
  }
  int weight = (text[0] - '0') * 1000;
  if (text.size() > 1 && text[1] != '.') return std::nullopt;
  int unit = 100;
  for (size_t i = 2; i < text.size(); ++i, unit /= 10) {
    if (!absl::ascii_isdigit(text[i])) return std::nullopt;
    weight += (text[i] - '0') * unit;
  }
  if (weight > 1000) return std::nullopt;
  return weight;
}

struct Member {
  absl::string_view coding;
  int weight;
};

// Takes the next member off a list. Nothing if it is malformed.
std::optional<Member> TakeMember(absl::string_view* list) {
  const size_t comma = list->find(',');
  absl::string_view text = list->substr(0, comma);
  list->remove_prefix(comma == list->npos ? list->size() : comma + 1);
  const size_t semicolon = text.find(';');
  Member member{absl::StripAsciiWhitespace(text.substr(0, semicolon)), 1000};
  if (!IsToken(member.coding)) return std::nullopt;
  if (absl::EqualsIgnoreCase(member.coding, "x-gzip")) member.coding = "gzip";
  if (semicolon == text.npos) return member;
  text = absl::StripAsciiWhitespace(text.substr(semicolon + 1));
  if (!absl::StartsWithIgnoreCase(text, "q=")) return std::nullopt;
  const std::optional<int> weight = ParseWeight(text.substr(2));
  if (!weight.has_value()) return std::nullopt;
  member.weight = *weight;
  return member;
}

}  // namespace

AcceptedCodings::AcceptedCodings(const HeaderView& headers) {
  for (const Field& f : headers) {
    if (absl::EqualsIgnoreCase(f.name, "Accept-Encoding")) {
      absl::StrAppend(&value_, value_.empty() ? "" : ",", f.value);
    }
  }
}

int AcceptedCodings::Weight(absl::string_view coding) const {
  std::optional<int> named;
  std::optional<int> any;
  absl::string_view list = value_;
  while (!list.empty()) {
    const std::optional<Member> member = TakeMember(&list);
    if (!member.has_value()) continue;
    if (member->coding == "*") {
      if (!any.has_value()) any = member->weight;
    } else if (!named.has_value() && absl::EqualsIgnoreCase(member->coding, coding)) {
      named = member->weight;
    }
  }
  if (named.has_value()) return *named;
  if (coding == "identity") return any == 0 ? 0 : 1;
  return any.value_or(0);
}

absl::string_view AcceptedCodings::Best(absl::Span<const absl::string_view> ours) const {
  absl::string_view best;
  int weight = 0;
  for (absl::string_view coding : ours) {
    const int w = Weight(coding);
    if (w > weight) {
      best = coding;
      weight = w;
    }
  }
  return weight >= Weight("identity") ? best : absl::string_view();
}

void AddVary(HeaderMap* headers, absl::string_view name) {
  for (size_t i = 0; i < headers->size(); ++i) {
    const Field f = (*headers)[i];
    if (absl::EqualsIgnoreCase(f.name, "Vary") &&
        (HasListMember(f.value, name) || HasListMember(f.value, "*"))) {
      return;
    }
  }
  headers->Add("Vary", name);
}

}  // namespace grove::http
