#include "grove/net/http/access_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "grove/hub/internal/check.h"

namespace grove::http {
namespace {

// As \xNN, whatever is no plain character.
void AppendEscaped(std::string* line, absl::string_view text) {
  if (text.empty()) text = "-";
  for (unsigned char c : text) {
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
      absl::StrAppendFormat(line, "\\x%02x", c);
    } else {
      line->push_back(static_cast<char>(c));
    }
  }
}

void AppendQuoted(std::string* line, absl::string_view text) {
  line->push_back('"');
  AppendEscaped(line, text);
  line->push_back('"');
}

// Bytes that are no ASCII are taken for Latin-1, so that it is always valid.
void AppendJson(std::string* line, absl::string_view key, absl::string_view text) {
  absl::StrAppend(line, line->empty() ? "{" : ",", "\"", key, "\":\"");
  for (unsigned char c : text) {
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
      absl::StrAppendFormat(line, "\\u%04x", c);
    } else {
      line->push_back(static_cast<char>(c));
    }
  }
  line->push_back('"');
}

// "10.0.0.1" of "10.0.0.1:80", "::1" of "[::1]:80".
absl::string_view HostOf(absl::string_view peer) {
  const size_t colon = peer.rfind(':');
  if (colon == peer.npos) return peer.empty() ? absl::string_view("-") : peer;
  peer = peer.substr(0, colon);
  if (peer.size() > 2 && peer.front() == '[') peer = peer.substr(1, peer.size() - 2);
  return peer;
}

// "80" of both.
absl::string_view PortOf(absl::string_view peer) {
  const size_t colon = peer.rfind(':');
  return colon == peer.npos ? absl::string_view("-") : peer.substr(colon + 1);
}

std::string RequestLineOf(const AccessRecord& r) {
  if (r.method.empty()) return {};
  return absl::StrCat(r.method, " ", r.target, " HTTP/", r.version_major, ".",
                      r.version_minor);
}

struct NamedField {
  absl::string_view name;
  void (*append)(const AccessRecord&, std::string*);
};
using R = const AccessRecord&;
constexpr NamedField kFields[] = {
    {"client_ip", [](R r, std::string* s) { AppendEscaped(s, HostOf(r.peer)); }},
    {"client_port", [](R r, std::string* s) { AppendEscaped(s, PortOf(r.peer)); }},
    {"date_time",
     [](R r, std::string* s) {
       *s += absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", r.begin, absl::UTCTimeZone());
     }},
    {"request_line", [](R r, std::string* s) { AppendEscaped(s, RequestLineOf(r)); }},
    {"method", [](R r, std::string* s) { AppendEscaped(s, r.method); }},
    {"target", [](R r, std::string* s) { AppendEscaped(s, r.target); }},
    {"host", [](R r, std::string* s) { AppendEscaped(s, r.host); }},
    {"version",
     [](R r, std::string* s) {
       absl::StrAppend(s, "HTTP/", r.version_major, ".", r.version_minor);
     }},
    {"status_code", [](R r, std::string* s) { absl::StrAppend(s, r.status); }},
    {"body_length", [](R r, std::string* s) { absl::StrAppend(s, r.body_bytes); }},
    {"wall_seconds",
     [](R r, std::string* s) {
       absl::StrAppendFormat(s, "%.6f", absl::ToDoubleSeconds(r.duration));
     }},
    {"referer", [](R r, std::string* s) { AppendEscaped(s, r.referer); }},
    {"user_agent", [](R r, std::string* s) { AppendEscaped(s, r.user_agent); }},
};

}  // namespace

AccessLogFormat::AccessLogFormat(absl::string_view format) {
  const absl::string_view all = format;
  std::string text;
  while (!format.empty()) {
    const size_t brace = std::min(format.find('{'), format.size());
    absl::StrAppend(&text, format.substr(0, brace));
    format.remove_prefix(brace);
    if (format.empty()) break;
    if (absl::ConsumePrefix(&format, "{{")) {
      text.push_back('{');
      continue;
    }
    const size_t end = format.find('}');
    GROVE_CHECK(end != format.npos, "AccessLogFormat: a brace is left open: '", all, "'");
    const absl::string_view name = format.substr(1, end - 1);
    format.remove_prefix(end + 1);
    const NamedField* found = nullptr;
    for (const NamedField& f : kFields) {
      if (f.name == name) found = &f;
    }
    GROVE_CHECK(found != nullptr, "AccessLogFormat: there is no field '", name, "'");
    pieces_.push_back({std::exchange(text, {}), found->append});
  }
  if (!text.empty()) pieces_.push_back({std::move(text), nullptr});
}

std::string AccessLogFormat::Format(const AccessRecord& record) const {
  std::string line;
  for (const Piece& piece : pieces_) {
    line += piece.text;
    if (piece.append != nullptr) piece.append(record, &line);
  }
  return line;
}

std::string FormatCommon(const AccessRecord& r) {
  std::string line = absl::StrCat(
      HostOf(r.peer), " - - [",
      absl::FormatTime("%d/%b/%Y:%H:%M:%S +0000", r.begin, absl::UTCTimeZone()), "] ");
  AppendQuoted(&line, RequestLineOf(r));
  absl::StrAppend(&line, " ", r.status, " ");
  if (r.body_bytes == 0) {
    line.push_back('-');
  } else {
    absl::StrAppend(&line, r.body_bytes);
  }
  return line;
}

std::string FormatCombined(const AccessRecord& r) {
  std::string line = FormatCommon(r);
  line.push_back(' ');
  AppendQuoted(&line, r.referer);
  line.push_back(' ');
  AppendQuoted(&line, r.user_agent);
  return line;
}

std::string FormatJson(const AccessRecord& r) {
  std::string line;
  AppendJson(&line, "time",
             absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", r.begin, absl::UTCTimeZone()));
  AppendJson(&line, "peer", r.peer);
  AppendJson(&line, "method", r.method);
  AppendJson(&line, "target", r.target);
  AppendJson(&line, "host", r.host);
  AppendJson(&line, "referer", r.referer);
  AppendJson(&line, "user_agent", r.user_agent);
  absl::StrAppendFormat(
      &line, ",\"version\":\"%d.%d\",\"status\":%d,\"body_bytes\":%d,\"seconds\":%.6f}",
      r.version_major, r.version_minor, r.status, r.body_bytes,
      absl::ToDoubleSeconds(r.duration));
  return line;
}

}  // namespace grove::http
