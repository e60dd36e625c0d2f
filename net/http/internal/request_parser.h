#ifndef GROVE_NET_HTTP_INTERNAL_REQUEST_PARSER_H_
#define GROVE_NET_HTTP_INTERNAL_REQUEST_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/net/http/headers.h"
#include "llhttp.h"

namespace grove::http::http_internal {

// RequestParser
//
// The head of an HTTP/1 request: its line, its fields, and what they say of the body.
// llhttp parses it, without leniency; beside it lines are looked at, for what llhttp
// lets through (lone CR and LF, folded fields, spaces), and fields, for what makes two
// readers disagree where a request ends.
//
// It is given the head as it grows, from its first byte on, and may be given it at
// another address each time: it keeps offsets.
class RequestParser {
 public:
  struct Limits {
    size_t request_line = 8192;
    size_t head = 32 << 10;
    size_t fields = 100;
  };
  enum class State { kMore, kDone, kRefused };

  RequestParser();

  void Reset();
  // `head` begins with all that was given before.
  State Feed(absl::string_view head, const Limits& limits);

  // After kRefused: the status to answer, and why.
  int status() const { return status_; }
  const char* reason() const { return reason_; }

  // After kDone, for the text that was given last. They lie in it.
  size_t head_size() const { return head_size_; }
  absl::string_view method() const { return method_; }
  absl::string_view target() const { return target_; }
  absl::string_view host() const { return host_; }
  absl::Span<const Field> fields() const { return views_; }
  int version_minor() const { return version_minor_; }
  bool keep_alive() const { return keep_alive_; }
  bool expects_continue() const { return expects_continue_; }
  bool chunked() const { return chunked_; }
  // Of a request without a body as well.
  uint64_t content_length() const { return content_length_.value_or(0); }
  bool has_content_length() const { return content_length_.has_value(); }

 private:
  struct Entry {
    uint32_t name = 0;
    uint32_t name_size = 0;
    uint32_t value = 0;
    uint32_t value_size = 0;
  };

  static const llhttp_settings_t* Settings();
  static RequestParser* Of(llhttp_t* parser) {
    return static_cast<RequestParser*>(parser->data);
  }
  State Refuse(int status, const char* reason);
  bool LookAtLines(absl::string_view head, const Limits& limits);
  bool LookAtRequestLine(absl::string_view line);
  State Finish(absl::string_view head);
  State LlhttpRefused();
  bool TakeField(const Field& field);
  bool TakeContentLength(absl::string_view value);
  bool TakeTransferEncoding(absl::string_view value);

  llhttp_t llhttp_;
  const char* base_ = nullptr;  // of the text that llhttp is given
  size_t line_ = 0;             // where the line begins whose end is not there yet
  size_t looked_ = 0;           // up to here there is no such end
  size_t fed_ = 0;              // up to here llhttp has it
  size_t request_line_size_ = 0;
  size_t head_size_ = 0;
  bool in_value_ = false;
  std::vector<Entry> entries_;
  std::vector<Field> views_;

  int status_ = 0;
  const char* reason_ = "";
  absl::string_view method_;
  absl::string_view target_;
  absl::string_view host_;
  int version_minor_ = 1;
  int hosts_ = 0;
  bool keep_alive_ = false;
  bool close_ = false;
  bool asks_keep_alive_ = false;
  bool expects_continue_ = false;
  bool chunked_ = false;
  std::optional<uint64_t> content_length_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_REQUEST_PARSER_H_
