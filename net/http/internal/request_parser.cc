#include "grove/net/http/internal/request_parser.h"

#include <string.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "grove/net/http/internal/request_target.h"

namespace grove::http::http_internal {
namespace {

absl::string_view TrimBlanks(absl::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace

const llhttp_settings_t* RequestParser::Settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_header_field = [](llhttp_t* parser, const char* at, size_t size) {
      RequestParser* self = Of(parser);
      if (self->in_value_ || self->entries_.empty()) {
        self->in_value_ = false;
        self->entries_.push_back({.name = static_cast<uint32_t>(at - self->base_)});
      }
      self->entries_.back().name_size += static_cast<uint32_t>(size);
      return 0;
    };
    s.on_header_value = [](llhttp_t* parser, const char* at, size_t size) {
      RequestParser* self = Of(parser);
      Entry& entry = self->entries_.back();
      if (!self->in_value_) {
        self->in_value_ = true;
        entry.value = static_cast<uint32_t>(at - self->base_);
      }
      // It may come in pieces, with blanks between them.
      entry.value_size = static_cast<uint32_t>(at - self->base_ + size) - entry.value;
      return 0;
    };
    s.on_header_value_complete = [](llhttp_t* parser) {
      Of(parser)->in_value_ = true;
      return 0;
    };
    // The body is not its business.
    s.on_headers_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
    return s;
  }();
  return &settings;
}

RequestParser::RequestParser() { Reset(); }

void RequestParser::Reset() {
  llhttp_init(&llhttp_, HTTP_REQUEST, Settings());
  llhttp_.data = this;
  version_minor_ = 1;
  line_ = looked_ = fed_ = request_line_size_ = head_size_ = 0;
  in_value_ = false;
  entries_.clear();
  status_ = 0;
  reason_ = "";
  hosts_ = 0;
  host_ = {};
  close_ = asks_keep_alive_ = expects_continue_ = chunked_ = false;
  content_length_.reset();
}

RequestParser::State RequestParser::Refuse(int status, const char* reason) {
  if (status_ == 0) {
    status_ = status;
    reason_ = reason;
  }
  return State::kRefused;
}

RequestParser::State RequestParser::Feed(absl::string_view head, const Limits& limits) {
  if (status_ != 0) return State::kRefused;
  if (!LookAtLines(head, limits)) return State::kRefused;
  base_ = head.data();
  const size_t end = head_size_ != 0 ? head_size_ : head.size();
  const llhttp_errno_t error = llhttp_execute(&llhttp_, head.data() + fed_, end - fed_);
  fed_ = end;
  if (error != HPE_OK && error != HPE_PAUSED && error != HPE_PAUSED_UPGRADE) {
    return LlhttpRefused();
  }
  if (entries_.size() > limits.fields) return Refuse(431, "too many header fields");
  if (head_size_ == 0) {
    if (error != HPE_OK) return Refuse(400, "the head ends where it should not");
    return State::kMore;
  }
  if (error == HPE_OK) return Refuse(400, "the head does not end where it should");
  return Finish(head);
}

// Sets head_size_ once the empty line is there. False if it was refused.
bool RequestParser::LookAtLines(absl::string_view head, const Limits& limits) {
  while (head_size_ == 0) {
    const size_t from = looked_;
    const void* found = memchr(head.data() + from, '\n', head.size() - from);
    const size_t end =
        found != nullptr
            ? static_cast<size_t>(static_cast<const char*>(found) - head.data())
            : head.size();
    // A CR that is followed by anything else than LF; the last byte may yet be.
    const absl::string_view line = head.substr(line_, end - line_);
    const void* cr = memchr(line.data(), '\r', line.size());
    const bool has_end =
        cr != nullptr && static_cast<const char*>(cr) == line.data() + line.size() - 1;
    if ((cr != nullptr && !has_end) || (found != nullptr && !has_end)) {
      Refuse(400, "a line that does not end with CR LF");
      return false;
    }
    const size_t text_size = line.size() - (has_end ? 1 : 0);
    if (line_ == 0 && text_size > limits.request_line) {
      Refuse(414, "the request line is too long");
      return false;
    }
    if (line_ + line.size() + 1 > limits.head) {
      Refuse(431, "the head is too large");
      return false;
    }
    if (line_ != 0 && !line.empty() && (line[0] == ' ' || line[0] == '\t')) {
      Refuse(400, "a folded header field");
      return false;
    }
    looked_ = end;
    if (found == nullptr) return true;
    if (line_ == 0) {
      if (!LookAtRequestLine(line.substr(0, text_size))) return false;
    } else if (text_size == 0) {
      head_size_ = end + 1;
    }
    line_ = looked_ = end + 1;
  }
  return true;
}

bool RequestParser::LookAtRequestLine(absl::string_view line) {
  request_line_size_ = line.size();
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || first == last || line.find(' ', first + 1) != last) {
    Refuse(400, "a request line that is not of three words");
    return false;
  }
  const absl::string_view version = line.substr(last + 1);
  if (!IsToken(line.substr(0, first)) ||
      !IsVisible(line.substr(first + 1, last - first - 1)) ||
      line.find('#') != line.npos || version.size() != 8 ||
      !absl::StartsWith(version, "HTTP/") || !absl::ascii_isdigit(version[5]) ||
      version[6] != '.' || !absl::ascii_isdigit(version[7])) {
    Refuse(400, "a malformed request line");
    return false;
  }
  if (version[5] != '1' || version[7] > '1') {
    Refuse(505, "a version of HTTP that is not spoken here");
    return false;
  }
  version_minor_ = version[7] - '0';
  return true;
}

RequestParser::State RequestParser::LlhttpRefused() {
  const llhttp_errno_t error = llhttp_get_errno(&llhttp_);
  switch (error) {
    case HPE_INVALID_METHOD:
      // A word that is none of the registry's, so far as it has come.
      return request_line_size_ != 0 ? Refuse(501, "an unknown method")
                                     : Refuse(400, "no method of HTTP");
    case HPE_INVALID_VERSION:
      return Refuse(505, "a version of HTTP that is not spoken here");
    default:
      return Refuse(400, llhttp_get_error_reason(&llhttp_));
  }
}

RequestParser::State RequestParser::Finish(absl::string_view head) {
  const absl::string_view line = head.substr(0, request_line_size_);
  const size_t first = line.find(' ');
  method_ = line.substr(0, first);
  target_ = line.substr(first + 1, line.rfind(' ') - first - 1);

  views_.clear();
  for (const Entry& e : entries_) {
    const Field field{head.substr(e.name, e.name_size),
                      TrimBlanks(head.substr(e.value, e.value_size))};
    if (head[e.name + e.name_size] != ':' || !IsToken(field.name)) {
      return Refuse(400, "a malformed field name");
    }
    if (!IsFieldValue(field.value)) return Refuse(400, "a control character in a field");
    views_.push_back(field);
    if (!TakeField(field)) return State::kRefused;
  }

  if (hosts_ == 0 && version_minor_ >= 1) return Refuse(400, "no Host");
  if (chunked_ && content_length_.has_value()) {
    return Refuse(400, "both Content-Length and Transfer-Encoding");
  }
  // HTTP/1.0 has no transfer codings; what its proxies make of one is anybody's guess.
  if (chunked_ && version_minor_ == 0) {
    return Refuse(400, "Transfer-Encoding in HTTP/1.0");
  }
  if (method_ == "CONNECT") return Refuse(501, "CONNECT is not served");
  if (target_[0] != '/' && !(target_ == "*" && method_ == "OPTIONS")) {
    // The absolute form; that of CONNECT is no target of other methods.
    absl::string_view rest = target_;
    if (!absl::StartsWithIgnoreCase(rest, "http://") &&
        !absl::StartsWithIgnoreCase(rest, "https://")) {
      return Refuse(400, "a malformed target");
    }
    rest.remove_prefix(rest.find("://") + 3);
    const absl::string_view host = rest.substr(0, rest.find_first_of("/?"));
    if (host.empty() || host[0] == ':' || !LooksLikeHost(host)) {
      return Refuse(400, "a malformed target");
    }
  }
  if (version_minor_ == 0) expects_continue_ = false;
  keep_alive_ = !close_ && (version_minor_ >= 1 || asks_keep_alive_);
  return State::kDone;
}

bool RequestParser::TakeField(const Field& field) {
  const auto is = [&](absl::string_view name) {
    return absl::EqualsIgnoreCase(field.name, name);
  };
  switch (field.name.size()) {
    case 4:
      if (!is("host")) return true;
      if (++hosts_ > 1 || !LooksLikeHost(field.value)) {
        Refuse(400, "more than one Host, or a malformed one");
        return false;
      }
      host_ = field.value;
      return true;
    case 6:
      if (!is("expect")) return true;
      if (!absl::EqualsIgnoreCase(field.value, "100-continue")) {
        Refuse(417, "an unknown expectation");
        return false;
      }
      expects_continue_ = true;
      return true;
    case 10:
      if (!is("connection")) return true;
      close_ = close_ || HasListMember(field.value, "close");
      asks_keep_alive_ = asks_keep_alive_ || HasListMember(field.value, "keep-alive");
      return true;
    case 14:
      return !is("content-length") || TakeContentLength(field.value);
    case 17:
      return !is("transfer-encoding") || TakeTransferEncoding(field.value);
    default:
      return true;
  }
}

bool RequestParser::TakeContentLength(absl::string_view value) {
  uint64_t length = 0;
  bool good = !value.empty() && value.size() <= 18 && !content_length_.has_value();
  for (char c : value) {
    good = good && absl::ascii_isdigit(c);
    length = length * 10 + static_cast<uint64_t>(c - '0');
  }
  if (!good) {
    Refuse(400, "a malformed or repeated Content-Length");
    return false;
  }
  content_length_ = length;
  return true;
}

bool RequestParser::TakeTransferEncoding(absl::string_view value) {
  if (chunked_) {
    Refuse(400, "a repeated Transfer-Encoding");
    return false;
  }
  if (!absl::EqualsIgnoreCase(value, "chunked")) {
    // Known to nobody here, or not the last.
    if (HasListMember(value, "chunked") && value.find(',') == value.rfind(',') &&
        !absl::EqualsIgnoreCase(TrimBlanks(value.substr(value.find(',') + 1)),
                                "chunked")) {
      Refuse(400, "chunked is not the last transfer coding");
    } else {
      Refuse(501, "an unknown transfer coding");
    }
    return false;
  }
  chunked_ = true;
  return true;
}

}  // namespace grove::http::http_internal
