#include "grove/net/http/access_log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace grove::http {
namespace {

// As \xNN, whatever is no plain character.
void AppendQuoted(std::string* line, absl::string_view text) {
  if (text.empty()) text = "-";
  line->push_back('"');
  for (unsigned char c : text) {
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
      absl::StrAppendFormat(line, "\\x%02x", c);
    } else {
      line->push_back(static_cast<char>(c));
    }
  }
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

}  // namespace

std::string FormatCommon(const AccessRecord& r) {
  std::string line = absl::StrCat(
      HostOf(r.peer), " - - [",
      absl::FormatTime("%d/%b/%Y:%H:%M:%S +0000", r.begin, absl::UTCTimeZone()), "] ");
  AppendQuoted(&line, r.method.empty()
                          ? std::string()
                          : absl::StrCat(r.method, " ", r.target, " HTTP/",
                                         r.version_major, ".", r.version_minor));
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
