#include "grove/net/http/compress.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/green/sleep.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/content_coding.h"
#include "grove/net/http/internal/content_coder.h"
#include "grove/net/http/status.h"

namespace grove::http {
namespace {

using http_internal::ContentDecoder;
using http_internal::ContentEncoder;
using http_internal::MakeContentDecoder;
using http_internal::MakeContentEncoder;

bool IsCompressible(absl::string_view content_type,
                    const std::vector<std::string>& types) {
  const absl::string_view type =
      absl::StripAsciiWhitespace(content_type.substr(0, content_type.find(';')));
  if (type.empty()) return false;
  for (const std::string& t : types) {
    const bool match = absl::StartsWith(t, "+") ? absl::EndsWithIgnoreCase(type, t)
                       : absl::EndsWith(t, "/") || absl::EndsWith(t, "+")
                           ? absl::StartsWithIgnoreCase(type, t)
                           : absl::EqualsIgnoreCase(type, t);
    if (match) return true;
  }
  return false;
}

bool ForbidsTransform(const HeaderMap& headers) {
  for (size_t i = 0; i < headers.size(); ++i) {
    const Field f = headers[i];
    if (absl::EqualsIgnoreCase(f.name, "cache-control") &&
        HasListMember(f.value, "no-transform")) {
      return true;
    }
  }
  return false;
}

// The middleware's part of one response.
class Encoder final : public BodyEncoder {
 public:
  // `coding` is "" for a client that takes none of them.
  Encoder(std::shared_ptr<const CompressOptions> options, absl::string_view coding,
          bool identity)
      : options_(std::move(options)), coding_(coding), identity_(identity) {}

  bool Begin(ResponseWriter& response, std::optional<uint64_t> size) override {
    HeaderMap& headers = response.headers();
    if (!MayHaveBody(response.status()) || response.status() == 206 ||
        headers.Get("Content-Range") || headers.Get("Content-Encoding") ||
        ForbidsTransform(headers)) {
      return false;
    }
    // All that follows is the same for all clients, but for those without identity.
    const absl::string_view type = headers.Get("Content-Type").value_or("");
    if (size == uint64_t{0}) return false;
    if (identity_ && (!IsCompressible(type, options_->types) ||
                      (size.has_value() && *size < options_->min_size))) {
      return false;
    }
    AddVary(&headers, "Accept-Encoding");
    if (coding_.empty()) return false;
    encoder_ = MakeContentEncoder(
        coding_, coding_ == "br" ? options_->brotli_quality : options_->gzip_level, size);
    headers.Set("Content-Encoding", coding_);
    headers.Remove("Accept-Ranges");
    // It says that two bodies are the same byte by byte (RFC 9110, 8.8.3.3).
    const std::string etag(headers.Get("ETag").value_or(""));
    if (!etag.empty() && !absl::StartsWith(etag, "W/")) {
      headers.Set("ETag", absl::StrCat("W/", etag));
    }
    return true;
  }

  absl::Status Encode(absl::string_view data, Step step, std::string* out) override {
    const absl::Status status =
        encoder_->Encode(data,
                         step == Step::kMore    ? ContentEncoder::Step::kMore
                         : step == Step::kFlush ? ContentEncoder::Step::kFlush
                                                : ContentEncoder::Step::kEnd,
                         out);
    work_ += data.size();
    if (work_ >= kWorkInARow) {
      work_ = 0;
      Yield();
    }
    return status;
  }

 private:
  static constexpr size_t kWorkInARow = 16 << 10;

  const std::shared_ptr<const CompressOptions> options_;
  const std::string coding_;
  const bool identity_;
  std::unique_ptr<ContentEncoder> encoder_;
  size_t work_ = 0;
};

// The body of a request, decoded.
class DecodedBody final : public RequestBody {
 public:
  DecodedBody(RequestBody* body, std::unique_ptr<ContentDecoder> decoder, uint64_t limit)
      : body_(body), decoder_(std::move(decoder)), left_(limit) {}

  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override {
    if (!failure_.ok()) return failure_;
    // To decode takes long. Before, for an interrupt that comes here loses nothing.
    if (!done_ && !buffer.empty()) Yield();
    while (!done_ && !buffer.empty()) {
      absl::string_view rest(input_.get() + begin_, end_ - begin_);
      const size_t before = rest.size();
      absl::StatusOr<size_t> n = decoder_->Decode(&rest, buffer);
      if (!n.ok()) return Fail(400, n.status());
      begin_ += before - rest.size();
      if (*n > left_) {
        return Fail(413, absl::ResourceExhaustedError("the decoded body is too large"));
      }
      left_ -= *n;
      if (*n > 0) return n;
      if (absl::Status s = decoder_->ended() ? End() : Fill(); !s.ok()) return s;
    }
    return size_t{0};
  }
  std::optional<uint64_t> length() const override { return std::nullopt; }
  HeaderView trailers() const override { return body_->trailers(); }
  // What to answer for what went wrong here; 0 if nothing has.
  int failed_with() const { return failed_with_; }

 private:
  static constexpr size_t kInput = 8 << 10;

  absl::Status Fill() {
    const absl::StatusOr<size_t> n = body_->Read({input_.get(), kInput});
    if (!n.ok()) return Fail(0, n.status());
    if (*n == 0) {
      return Fail(400, absl::InvalidArgumentError("an encoded body that ends too early"));
    }
    begin_ = 0;
    end_ = *n;
    return absl::OkStatus();
  }
  absl::Status End() {
    char byte;
    absl::StatusOr<size_t> n = end_ - begin_;
    if (*n == 0) n = body_->Read(absl::MakeSpan(&byte, 1));
    if (!n.ok()) return Fail(0, n.status());
    if (*n != 0) {
      return Fail(400, absl::InvalidArgumentError("something behind an encoded body"));
    }
    done_ = true;
    return absl::OkStatus();
  }
  absl::Status Fail(int status, absl::Status failure) {
    failed_with_ = status;
    failure_ = std::move(failure);
    return failure_;
  }

  RequestBody* const body_;
  const std::unique_ptr<ContentDecoder> decoder_;
  const std::unique_ptr<char[]> input_{new char[kInput]};
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t left_;
  bool done_ = false;
  int failed_with_ = 0;
  absl::Status failure_;
};

}  // namespace

Middleware Compress(CompressOptions options) {
  for (const std::string& c : options.codings) {
    GROVE_CHECK(c == "br" || c == "gzip" || c == "deflate", "Compress: no coding '", c,
                "'");
  }
  auto shared = std::make_shared<const CompressOptions>(std::move(options));
  return [shared](Handler next) -> Handler {
    return [shared, next = std::move(next)](Request& request, ResponseWriter& response) {
      const AcceptedCodings accepted(request.headers());
      const std::vector<absl::string_view> ours(shared->codings.begin(),
                                                shared->codings.end());
      const absl::string_view coding = accepted.Best(ours);
      if (coding.empty() && !accepted.identity()) {
        response.headers().Set("Vary", "Accept-Encoding");
        response.Send(406, "text/plain", "Not Acceptable\n").IgnoreError();
        return;
      }
      response.set_encoder(
          std::make_unique<Encoder>(shared, coding, accepted.identity()));
      next(request, response);
    };
  };
}

Middleware Decompress(uint64_t limit) {
  return [limit](Handler next) -> Handler {
    return [limit, next = std::move(next)](Request& request, ResponseWriter& response) {
      const std::vector<absl::string_view> said =
          request.headers().GetAll("Content-Encoding");
      if (said.empty() ||
          (said.size() == 1 && absl::EqualsIgnoreCase(said[0], "identity"))) {
        next(request, response);
        return;
      }
      std::string coding = absl::AsciiStrToLower(absl::StrJoin(said, ","));
      if (coding == "x-gzip") coding = "gzip";
      std::unique_ptr<ContentDecoder> decoder = MakeContentDecoder(coding);
      if (decoder == nullptr) {
        response.headers().Set("Accept-Encoding", "br, gzip, deflate");
        response.Send(415, "text/plain", "Unsupported Media Type\n").IgnoreError();
        return;
      }
      RequestBody& plain = request.body();
      DecodedBody body(&plain, std::move(decoder), limit);
      request.set_body(&body);
      // What goes on behind the handler is about the body as it came.
      struct Restore {
        Request& request;
        RequestBody& plain;
        ~Restore() { request.set_body(&plain); }
      } restore{request, plain};
      next(request, response);
      if (body.failed_with() != 0 && response.untouched()) {
        const int status = body.failed_with();
        response.Send(status, "text/plain", absl::StrCat(ReasonOf(status), "\n"))
            .IgnoreError();
      }
    };
  };
}

size_t ContentCoderMemory() { return http_internal::CoderMemory(); }

}  // namespace grove::http
