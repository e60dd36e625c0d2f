#include "grove/net/http/request.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace grove::http {

absl::StatusOr<std::string> RequestBody::ReadAll(size_t limit) {
  std::string all;
  if (const std::optional<uint64_t> n = length()) {
    all.reserve(
        static_cast<size_t>(std::min<uint64_t>(*n, std::min<size_t>(limit, 65536))));
  }
  char buffer[4096];
  for (;;) {
    const absl::StatusOr<size_t> n = Read(absl::MakeSpan(buffer));
    if (!n.ok()) return n.status();
    if (*n == 0) return all;
    if (*n > limit - all.size()) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the body is larger than ", limit, " bytes"));
    }
    all.append(buffer, *n);
  }
}

absl::StatusOr<std::string> RequestBody::ReadUntil(absl::string_view delimiter,
                                                   std::string& rest, size_t limit) {
  size_t looked = 0;
  for (;;) {
    const size_t at = absl::string_view(rest).find(delimiter, looked);
    const size_t end = at == rest.npos ? rest.size() : at + delimiter.size();
    if (end > limit || (at == rest.npos && end >= limit)) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the delimiter is not within ", limit, " bytes"));
    }
    if (at != rest.npos) {
      std::string found = rest.substr(0, end);
      rest.erase(0, end);
      return found;
    }
    looked = rest.size() - std::min(rest.size(), delimiter.size() - 1);
    char buffer[4096];
    const absl::StatusOr<size_t> n = Read(absl::MakeSpan(buffer));
    if (!n.ok()) return n.status();
    if (*n == 0) {
      return absl::OutOfRangeError("the body ended before the delimiter");
    }
    rest.append(buffer, *n);
  }
}

void Request::Set(const Parts& parts) {
  method_ = parts.method;
  target_ = parts.target;
  host_ = parts.host;
  peer_ = parts.peer;
  version_major_ = parts.version_major;
  version_minor_ = parts.version_minor;
  secure_ = parts.secure;
  fields_ = parts.fields;
  body_ = parts.body;
  if (!parameters_.empty()) parameters_.clear();

  absl::string_view rest = target_;
  if (!rest.empty() && rest[0] != '/' && rest != "*") {
    const size_t colon = rest.find("://");
    if (colon != rest.npos) {  // the absolute form
      rest.remove_prefix(colon + 3);
      const size_t end = std::min(rest.find_first_of("/?"), rest.size());
      host_ = rest.substr(0, end);
      rest.remove_prefix(end);
    }
  }
  const size_t mark = rest.find('?');
  path_ = rest.substr(0, mark);
  query_ = mark == rest.npos ? absl::string_view() : rest.substr(mark + 1);
  if (path_.empty()) path_ = "/";
}

std::optional<absl::string_view> Request::parameter(absl::string_view name) const {
  for (const auto& [key, value] : parameters_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string Request::DebugString() const {
  std::string text =
      absl::StrCat(method_, " ", absl::CHexEscape(target_.substr(0, target_.find('?'))));
  if (target_.find('?') != target_.npos) {
    absl::StrAppend(&text, "?[", query_.size(), " bytes]");
  }
  absl::StrAppend(&text, " HTTP/", version_major_, ".", version_minor_);
  if (!peer_.empty()) absl::StrAppend(&text, " from ", peer_);
  for (const Field& f : fields_) {
    absl::StrAppend(&text, "; ", f.name, ": ");
    if (IsSecretField(f.name)) {
      absl::StrAppend(&text, "[", f.value.size(), " bytes]");
    } else {
      absl::StrAppend(&text, absl::CHexEscape(f.value));
    }
  }
  return text;
}

std::optional<std::string> DecodePercent(absl::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3 || !absl::ascii_isxdigit(text[i + 1]) ||
          !absl::ascii_isxdigit(text[i + 2])) {
        return std::nullopt;
      }
      c = absl::HexStringToBytes(text.substr(i + 1, 2))[0];
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    decoded.push_back(c);
  }
  return decoded;
}

}  // namespace grove::http
