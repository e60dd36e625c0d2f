#include "grove/net/http/internal/chunk_decoder.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace grove::http::http_internal {
namespace {

// Fields that say where a message ends or whose it is are no trailers (RFC 9110, 6.5.1).
bool MayBeTrailer(absl::string_view name) {
  for (absl::string_view forbidden :
       {"transfer-encoding", "content-length", "host", "content-encoding", "content-type",
        "content-range", "trailer", "authorization", "cookie", "expect", "connection"}) {
    if (absl::EqualsIgnoreCase(name, forbidden)) return false;
  }
  return true;
}

}  // namespace

void ChunkDecoder::Reset() {
  at_ = At::kSize;
  left_ = 0;
  digits_ = 0;
  extensions_ = 0;
  reason_ = "";
  trailer_text_.clear();
  trailer_line_ = 0;
  trailer_entries_.clear();
  trailer_views_.clear();
}

ChunkDecoder::Step ChunkDecoder::Next(absl::string_view input, size_t at_most,
                                      const Limits& limits) {
  size_t i = 0;
  for (;;) {
    if (at_ == At::kEnd) return {State::kEnd, i, {}};
    if (i == input.size()) return {State::kMore, i, {}};
    if (at_ == At::kData) {
      const size_t n = static_cast<size_t>(
          std::min<uint64_t>(left_, std::min(at_most, input.size() - i)));
      left_ -= n;
      if (left_ == 0) at_ = At::kDataCr;
      return {State::kData, i + n, input.substr(i, n)};
    }
    if (!TakeByte(input[i], limits)) return {State::kRefused, i, {}};
    ++i;
  }
}

bool ChunkDecoder::TakeByte(char c, const Limits& limits) {
  switch (at_) {
    case At::kSize:
      if (absl::ascii_isxdigit(c)) return TakeSizeDigit(c);
      if (digits_ == 0) return Refuse("a chunk without a size");
      if (c == '\r') {
        at_ = At::kSizeLf;
        return true;
      }
      if (c != ';') return Refuse("a malformed chunk size");
      at_ = At::kExtension;
      [[fallthrough]];
    case At::kExtension:
      if (c == '\r') {
        at_ = At::kSizeLf;
        return true;
      }
      if (!IsFieldValue({&c, 1}))
        return Refuse("a control character in a chunk extension");
      if (++extensions_ > limits.extensions) return Refuse("too many chunk extensions");
      return true;
    case At::kSizeLf:
      if (c != '\n') return Refuse("a chunk size that does not end with CR LF");
      digits_ = 0;
      at_ = left_ == 0 ? At::kTrailerStart : At::kData;
      return true;
    case At::kDataCr:
      if (c != '\r') return Refuse("a chunk longer than its size");
      at_ = At::kDataLf;
      return true;
    case At::kDataLf:
      if (c != '\n') return Refuse("a chunk that does not end with CR LF");
      at_ = At::kSize;
      return true;
    case At::kTrailerStart:
      if (c == '\r') {
        at_ = At::kLastLf;
        return true;
      }
      trailer_line_ = trailer_text_.size();
      at_ = At::kTrailer;
      [[fallthrough]];
    case At::kTrailer:
      if (c == '\r') {
        at_ = At::kTrailerLf;
        return true;
      }
      if (!IsFieldValue({&c, 1})) return Refuse("a control character in a trailer");
      if (trailer_text_.size() >= limits.trailers) return Refuse("trailers too large");
      trailer_text_.push_back(c);
      return true;
    case At::kTrailerLf:
      if (c != '\n') return Refuse("a trailer that does not end with CR LF");
      at_ = At::kTrailerStart;
      return FinishTrailer(limits);
    case At::kLastLf:
      if (c != '\n') return Refuse("a body that does not end with CR LF");
      FinishTrailers();
      at_ = At::kEnd;
      return true;
    case At::kData:
    case At::kEnd:
      break;
  }
  return Refuse("bytes behind the end");
}

bool ChunkDecoder::TakeSizeDigit(char c) {
  if (++digits_ > 15) return Refuse("a chunk size that is too large");
  const int digit = absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10;
  left_ = left_ * 16 + static_cast<uint64_t>(digit);
  return true;
}

bool ChunkDecoder::FinishTrailer(const Limits& limits) {
  const absl::string_view line = absl::string_view(trailer_text_).substr(trailer_line_);
  const size_t colon = line.find(':');
  if (colon == line.npos || !IsToken(line.substr(0, colon)) ||
      !IsFieldValue(line.substr(colon + 1))) {
    return Refuse("a malformed trailer");
  }
  if (trailer_entries_.size() == limits.trailer_fields)
    return Refuse("too many trailers");
  if (MayBeTrailer(line.substr(0, colon))) {
    trailer_entries_.push_back(
        {trailer_line_, colon, trailer_line_ + colon + 1, line.size() - colon - 1});
  }
  return true;
}

// Only now, since the text moves as it grows.
void ChunkDecoder::FinishTrailers() {
  const absl::string_view text(trailer_text_);
  for (const Entry& e : trailer_entries_) {
    trailer_views_.push_back(
        {text.substr(e.name, e.name_size),
         absl::StripAsciiWhitespace(text.substr(e.value, e.value_size))});
  }
}

}  // namespace grove::http::http_internal
