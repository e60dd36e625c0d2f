#include "grove/net/http/internal/websocket_deflate.h"

#include <algorithm>
#include <array>
#include <limits>

#include "grove/hub/internal/check.h"

namespace grove::http::http_internal {
namespace {

// What ends each block of a message, and is not sent.
constexpr absl::string_view kTail("\x00\x00\xff\xff", 4);
constexpr size_t kPiece = 4 << 10;

void SetInput(z_stream& z, absl::string_view piece) {
  GROVE_CHECK(piece.size() <= std::numeric_limits<uInt>::max(), "a piece of ",
              piece.size(), " bytes");
  // zlib does not write to it.
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
  z.avail_in = static_cast<uInt>(piece.size());
}

}  // namespace

MessageInflater::~MessageInflater() {
  if (made_) inflateEnd(&z_);
}

MessageInflater::Result MessageInflater::Feed(absl::string_view piece, size_t limit,
                                              std::string* out) {
  return piece.empty() ? Result::kOk : Run(piece, limit, out);
}

MessageInflater::Result MessageInflater::End(size_t limit, std::string* out) {
  if (const Result result = Run(kTail, limit, out); result != Result::kOk) return result;
  // 128: between two blocks. Else the message has ended within one.
  if ((z_.data_type & 128) == 0) return Result::kMalformed;
  if (!keep_context_) inflateReset(&z_);
  return Result::kOk;
}

MessageInflater::Result MessageInflater::Run(absl::string_view piece, size_t limit,
                                             std::string* out) {
  if (!made_) {
    // No memory is as good as no room.
    if (inflateInit2(&z_, -window_bits_) != Z_OK) return Result::kTooLarge;
    made_ = true;
  }
  SetInput(z_, piece);
  std::array<Bytef, kPiece> buffer;
  for (;;) {
    z_.next_out = buffer.data();
    z_.avail_out = static_cast<uInt>(buffer.size());
    const int status = inflate(&z_, Z_SYNC_FLUSH);
    const size_t n = buffer.size() - z_.avail_out;
    if (n > limit - out->size()) return Result::kTooLarge;
    out->append(reinterpret_cast<const char*>(buffer.data()), n);
    switch (status) {
      case Z_OK:
        break;
      case Z_BUF_ERROR:  // nothing to do any more
        return Result::kOk;
      case Z_STREAM_END:
        // A last block within a message: another stream follows (7.2.3.4), with the same
        // window.
        inflateResetKeep(&z_);
        break;
      case Z_MEM_ERROR:
        return Result::kTooLarge;
      default:
        return Result::kMalformed;
    }
    if (z_.avail_in == 0 && z_.avail_out > 0) return Result::kOk;
  }
}

MessageDeflater::~MessageDeflater() {
  if (made_) deflateEnd(&z_);
}

bool MessageDeflater::Deflate(absl::string_view message, std::string* out) {
  if (!made_) {
    // A hash table half as large as the window goes well with it.
    const int memory = std::clamp(window_bits_ - 7, 1, 8);
    if (deflateInit2(&z_, level_, Z_DEFLATED, -window_bits_, memory,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
      return false;
    }
    made_ = true;
  }
  out->clear();
  std::array<Bytef, kPiece> buffer;
  // zlib counts in 32 bits.
  constexpr size_t kMost = size_t{1} << 30;
  do {
    const absl::string_view piece = message.substr(0, kMost);
    message.remove_prefix(piece.size());
    SetInput(z_, piece);
    const int flush = message.empty() ? Z_SYNC_FLUSH : Z_NO_FLUSH;
    do {
      z_.next_out = buffer.data();
      z_.avail_out = static_cast<uInt>(buffer.size());
      (void)deflate(&z_, flush);
      out->append(reinterpret_cast<const char*>(buffer.data()),
                  buffer.size() - z_.avail_out);
    } while (z_.avail_out == 0);
  } while (!message.empty());
  // An empty message has no flush of its own, if the last one ended with a flush.
  if (out->size() < kTail.size() ||
      absl::string_view(*out).substr(out->size() - kTail.size()) != kTail) {
    out->assign(1, '\0');  // 7.2.3.6
  } else {
    out->resize(out->size() - kTail.size());
    if (out->empty()) out->assign(1, '\0');
  }
  if (!keep_context_) deflateReset(&z_);
  return true;
}

void MessageDeflater::Forget() {
  if (made_) deflateReset(&z_);
}

}  // namespace grove::http::http_internal
