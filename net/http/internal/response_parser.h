#ifndef GROVE_NET_HTTP_INTERNAL_RESPONSE_PARSER_H_
#define GROVE_NET_HTTP_INTERNAL_RESPONSE_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/net/http/headers.h"

namespace grove::http::http_internal {

// How a response's body ends (RFC 9112, 6.3).
enum class BodyEnd { kNone, kLength, kChunked, kClose };

// ResponseHead
//
// The status line and the fields, in memory of its own.
struct ResponseHead {
  ResponseHead() = default;
  ResponseHead(const ResponseHead&) = delete;
  ResponseHead& operator=(const ResponseHead&) = delete;

  int version_major = 1;
  int version_minor = 1;
  int status = 0;
  absl::string_view reason;
  std::vector<Field> fields;
  BodyEnd end = BodyEnd::kNone;
  // That it has, or would have (HEAD, 304).
  std::optional<uint64_t> content_length;
  bool keep_alive = false;

  HeaderView headers() const { return HeaderView(fields); }
  std::string text;  // where all of that lies
};

// ResponseParser
//
// The head of an HTTP/1 response. Lines are looked at as they come, so that one that is
// too long, or has no proper end, is refused at once; once the head is whole, llhttp
// parses it, without leniency, and its fields are looked at for what makes two readers
// disagree where the response ends.
//
// It is given the head as it grows, from its first byte on.
class ResponseParser {
 public:
  struct Limits {
    size_t head = 64 << 10;
    size_t fields = 256;
  };
  enum class State { kMore, kDone, kRefused };

  void Reset() { *this = ResponseParser(); }
  // `head` begins with all that was given before. `method` is that of the request. With
  // kDone the first head_size() bytes of it are the head.
  State Feed(absl::string_view head, absl::string_view method, const Limits& limits,
             ResponseHead* response);

  const char* reason() const { return reason_; }
  size_t head_size() const { return head_size_; }

 private:
  State Refuse(const char* reason) {
    reason_ = reason;
    return State::kRefused;
  }
  bool LookAtLines(absl::string_view head, const Limits& limits);
  bool LookAtStatusLine(absl::string_view line);
  State Parse(absl::string_view method, const Limits& limits, ResponseHead* response);
  bool TakeField(const Field& field, ResponseHead* response);
  bool TakeContentLength(absl::string_view value, ResponseHead* response);
  void FindEnd(absl::string_view method, ResponseHead* response);

  size_t line_ = 0;    // where the line begins whose end is not there yet
  size_t looked_ = 0;  // up to here there is no such end
  size_t head_size_ = 0;
  const char* reason_ = "";
  bool chunked_ = false;
  bool close_ = false;
  bool asks_keep_alive_ = false;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_RESPONSE_PARSER_H_
