#include "grove/net/http/internal/response_parser.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "grove/net/http/status.h"
#include "llhttp.h"

namespace grove::http::http_internal {
namespace {

absl::string_view TrimBlanks(absl::string_view text) {
  while (absl::ConsumePrefix(&text, " ") || absl::ConsumePrefix(&text, "\t")) {
  }
  while (absl::ConsumeSuffix(&text, " ") || absl::ConsumeSuffix(&text, "\t")) {
  }
  return text;
}

// What llhttp finds in a head that it is given whole.
struct Found {
  struct Span {
    const char* at = nullptr;
    size_t size = 0;
    void Extend(const char* more, size_t n) {
      if (at == nullptr) at = more;
      size = static_cast<size_t>(more - at) + n;  // in pieces with blanks between them
    }
    absl::string_view text() const { return at ? absl::string_view(at, size) : ""; }
  };
  struct Entry {
    Span name;
    Span value;
    bool done = false;
  };
  std::vector<Entry> entries;
  Span reason;
};

Found& Of(llhttp_t* parser) { return *static_cast<Found*>(parser->data); }

const llhttp_settings_t* Settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_status = [](llhttp_t* parser, const char* at, size_t size) {
      Of(parser).reason.Extend(at, size);
      return 0;
    };
    s.on_header_field = [](llhttp_t* parser, const char* at, size_t size) {
      std::vector<Found::Entry>& entries = Of(parser).entries;
      if (entries.empty() || entries.back().done) entries.emplace_back();
      entries.back().name.Extend(at, size);
      return 0;
    };
    s.on_header_value = [](llhttp_t* parser, const char* at, size_t size) {
      Of(parser).entries.back().value.Extend(at, size);
      return 0;
    };
    s.on_header_value_complete = [](llhttp_t* parser) {
      Of(parser).entries.back().done = true;
      return 0;
    };
    // The body is not its business.
    s.on_headers_complete = [](llhttp_t*) { return static_cast<int>(HPE_PAUSED); };
    return s;
  }();
  return &settings;
}

}  // namespace

ResponseParser::State ResponseParser::Feed(absl::string_view head,
                                           absl::string_view method, const Limits& limits,
                                           ResponseHead* response) {
  if (*reason_ != '\0' || !LookAtLines(head, limits)) return State::kRefused;
  if (head_size_ == 0) return State::kMore;
  response->text.assign(head.data(), head_size_);
  return Parse(method, limits, response);
}

// Sets head_size_ once the empty line is there. False if it was refused.
bool ResponseParser::LookAtLines(absl::string_view head, const Limits& limits) {
  const auto refuse = [this](const char* reason) {
    reason_ = reason;
    return false;
  };
  while (head_size_ == 0) {
    const void* found = memchr(head.data() + looked_, '\n', head.size() - looked_);
    const size_t end =
        found != nullptr
            ? static_cast<size_t>(static_cast<const char*>(found) - head.data())
            : head.size();
    absl::string_view line = head.substr(line_, end - line_);
    if (line_ + line.size() + 1 > limits.head) return refuse("the head is too large");
    const bool has_cr = absl::ConsumeSuffix(&line, "\r");
    if (line.find('\r') != line.npos || (found != nullptr && !has_cr)) {
      return refuse("a line that does not end with CR LF");
    }
    if (line_ != 0 && !line.empty() && (line[0] == ' ' || line[0] == '\t')) {
      return refuse("a folded header field");
    }
    looked_ = end;
    if (line_ == 0) {
      // What is no HTTP at all need not be waited for.
      const size_t n = std::min(line.size(), size_t{5});
      if (line.substr(0, n) != absl::string_view("HTTP/").substr(0, n)) {
        return refuse("not HTTP/1");
      }
    }
    if (found == nullptr) return true;
    if (line_ == 0) {
      if (!LookAtStatusLine(line)) return false;
    } else if (line.empty()) {
      head_size_ = end + 1;
    }
    line_ = looked_ = end + 1;
  }
  return true;
}

bool ResponseParser::LookAtStatusLine(absl::string_view line) {
  // "HTTP/1.1 200 OK"; the blank behind the status is missing now and then.
  const auto digit = [&](size_t i) { return absl::ascii_isdigit(line[i]); };
  if (line.size() < 12 || !digit(5) || line[6] != '.' || !digit(7) || line[8] != ' ' ||
      !digit(9) || !digit(10) || !digit(11) || (line.size() > 12 && line[12] != ' ') ||
      !IsFieldValue(line)) {
    reason_ = "a malformed status line";
    return false;
  }
  if (line[5] != '1' || line[7] > '1') {
    reason_ = "a version of HTTP that was not asked for";
    return false;
  }
  if (line[9] < '1' || line[9] > '5') {
    reason_ = "a status that is none";
    return false;
  }
  return true;
}

ResponseParser::State ResponseParser::Parse(absl::string_view method,
                                            const Limits& limits,
                                            ResponseHead* response) {
  const absl::string_view head = response->text;
  Found found;
  llhttp_t llhttp;
  llhttp_init(&llhttp, HTTP_RESPONSE, Settings());
  llhttp.data = &found;
  const llhttp_errno_t error = llhttp_execute(&llhttp, head.data(), head.size());
  if (error != HPE_PAUSED) {
    const char* reason = error == HPE_OK ? "" : llhttp_get_error_reason(&llhttp);
    return Refuse(reason != nullptr && *reason != '\0' ? reason : "a malformed head");
  }
  if (found.entries.size() > limits.fields) return Refuse("too many header fields");

  response->version_minor = head[7] - '0';
  response->status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
  response->reason = TrimBlanks(found.reason.text());
  response->fields.clear();
  response->content_length.reset();
  for (const Found::Entry& e : found.entries) {
    const Field field{e.name.text(), TrimBlanks(e.value.text())};
    if (!IsToken(field.name) || field.name.data()[field.name.size()] != ':') {
      return Refuse("a malformed field name");
    }
    if (!IsFieldValue(field.value)) return Refuse("a control character in a field");
    response->fields.push_back(field);
    if (!TakeField(field, response)) return State::kRefused;
  }
  if (chunked_ && response->content_length) {
    return Refuse("both Content-Length and Transfer-Encoding");
  }
  // HTTP/1.0 has no transfer codings (RFC 9112, 6.1).
  if (chunked_ && response->version_minor == 0) {
    return Refuse("Transfer-Encoding in HTTP/1.0");
  }
  FindEnd(method, response);
  return State::kDone;
}

bool ResponseParser::TakeField(const Field& field, ResponseHead* response) {
  const auto is = [&](absl::string_view name) {
    return absl::EqualsIgnoreCase(field.name, name);
  };
  if (is("connection")) {
    close_ = close_ || HasListMember(field.value, "close");
    asks_keep_alive_ = asks_keep_alive_ || HasListMember(field.value, "keep-alive");
  } else if (is("content-length")) {
    return TakeContentLength(field.value, response);
  } else if (is("transfer-encoding")) {
    // None but chunked was asked for (no TE was sent).
    if (chunked_ || !absl::EqualsIgnoreCase(field.value, "chunked")) {
      reason_ = chunked_ ? "a repeated Transfer-Encoding" : "an unknown transfer coding";
      return false;
    }
    chunked_ = true;
  }
  return true;
}

bool ResponseParser::TakeContentLength(absl::string_view value, ResponseHead* response) {
  uint64_t length = 0;
  bool good = !value.empty() && value.size() <= 18 && !response->content_length;
  for (char c : value) {
    good = good && absl::ascii_isdigit(c);
    length = length * 10 + static_cast<uint64_t>(c - '0');
  }
  if (!good) {
    reason_ = "a malformed or repeated Content-Length";
    return false;
  }
  response->content_length = length;
  return true;
}

// RFC 9112, 6.3.
void ResponseParser::FindEnd(absl::string_view method, ResponseHead* response) {
  bool keep = !close_ && (response->version_minor >= 1 || asks_keep_alive_);
  if (method == "HEAD" || !MayHaveBody(response->status) ||
      (method == "CONNECT" && response->status < 300)) {
    response->end = BodyEnd::kNone;
    // There must be none, but it is announced: who knows what comes.
    if (method != "HEAD" && response->status != 304 &&
        (chunked_ || response->content_length.value_or(0) != 0)) {
      keep = false;
    }
  } else if (chunked_) {
    response->end = BodyEnd::kChunked;
  } else if (response->content_length) {
    response->end = *response->content_length == 0 ? BodyEnd::kNone : BodyEnd::kLength;
  } else {
    response->end = BodyEnd::kClose;
    keep = false;
  }
  response->keep_alive = keep;
}

}  // namespace grove::http::http_internal
