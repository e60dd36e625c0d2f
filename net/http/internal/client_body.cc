#include "grove/net/http/internal/client_body.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grove::http::http_internal {
namespace {

constexpr size_t kCompressedBuffer = 8192;
// A small body may be larger compressed than not.
constexpr uint64_t kLeastCompressed = 1 << 20;

}  // namespace

ClientBody::ClientBody(ReceivedResponse response, bool decompress, Limits limits)
    : response_(std::move(response)), limits_(limits) {
  ResponseHead& head = *response_.head;
  if (!decompress || head.end == BodyEnd::kNone) return;
  // One coding: several, or one that is not known, are left to the caller as they are.
  const HeaderView headers = head.headers();
  const std::optional<absl::string_view> coding = headers.Get("content-encoding");
  if (!coding || headers.GetAll("content-encoding").size() > 1) return;
  decompressor_ = Decompressor::For(*coding);
  if (decompressor_ == nullptr) return;
  coding_ = std::string(*coding);
  std::erase_if(head.fields, [](const Field& f) {
    return absl::EqualsIgnoreCase(f.name, "content-encoding") ||
           absl::EqualsIgnoreCase(f.name, "content-length");
  });
}

absl::Status ClientBody::Named(const absl::Status& status) const {
  return WithPrefix(response_.operation, status);
}

HeaderView ClientBody::trailers() const {
  return done_ ? response_.body->trailers() : HeaderView();
}

absl::StatusOr<size_t> ClientBody::Read(absl::Span<char> buffer) {
  if (!failure_.ok()) return failure_;
  if (done_ || buffer.empty()) return 0;
  const absl::StatusOr<size_t> n =
      decompressor_ ? ReadDecompressed(buffer) : ReadSome(buffer);
  if (!n.ok()) {
    failure_ = Named(n.status());
  } else if (*n == 0) {
    done_ = true;
  } else {
    read_ += *n;
    const uint64_t limit =
        decompressor_ ? std::min(limits_.body, limits_.decompressed) : limits_.body;
    if (read_ > limit) {
      failure_ = Named(absl::ResourceExhaustedError(
          absl::StrCat("the body is larger than ", limit, " bytes",
                       decompressor_ ? ", decompressed" : "")));
    }
  }
  if (failure_.ok()) return *n;
  response_.body.reset();  // and the connection with it
  return failure_;
}

absl::StatusOr<size_t> ClientBody::ReadSome(absl::Span<char> buffer) {
  // One that is known to be too large need not be begun.
  if (!decompressor_ && response_.head->end == BodyEnd::kLength &&
      *response_.head->content_length > limits_.body) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the body is larger than ", limits_.body, " bytes"));
  }
  return response_.body->Read(buffer);
}

absl::StatusOr<size_t> ClientBody::ReadDecompressed(absl::Span<char> buffer) {
  for (;;) {
    if (any_) {
      const absl::StatusOr<size_t> n = decompressor_->Next(&pending_, buffer);
      if (!n.ok() || *n > 0) return n;
    }
    if (ended_) {
      if (!any_ || decompressor_->AtEnd()) return 0;
      return absl::DataLossError("the compressed body ends before its end");
    }
    compressed_.resize(kCompressedBuffer);
    const absl::StatusOr<size_t> n = ReadSome(absl::MakeSpan(compressed_));
    if (!n.ok()) return n;
    ended_ = *n == 0;
    any_ = any_ || *n > 0;
    // What makes nothing of itself counts as well.
    compressed_read_ += *n;
    if (compressed_read_ > std::max(limits_.decompressed, kLeastCompressed)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "the body is larger than ", limits_.decompressed, " bytes, compressed"));
    }
    pending_ = absl::string_view(compressed_).substr(0, *n);
  }
}

}  // namespace grove::http::http_internal
