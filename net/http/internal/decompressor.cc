#include "grove/net/http/internal/decompressor.h"

#include <brotli/decode.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grove::http::http_internal {
namespace {

// gzip (RFC 1952) and deflate (RFC 1950; without zlib's wrapper too, RFC 1951, as some
// servers send it: RFC 9110, 8.4.1.2).
class ZlibDecompressor final : public Decompressor {
 public:
  explicit ZlibDecompressor(bool gzip) : gzip_(gzip) {}
  ~ZlibDecompressor() override {
    if (begun_) inflateEnd(&z_);
  }

  absl::StatusOr<size_t> Next(absl::string_view* input, absl::Span<char> out) override {
    size_t done = 0;
    while (done == 0 && !input->empty()) {
      if (!begun_ || ended_) {
        if (absl::Status s = Begin(input->front()); !s.ok()) return s;
      }
      // Its counts are of 32 bits.
      const auto chunk = [](size_t n) {
        return static_cast<uInt>(std::min<size_t>(n, 1u << 30));
      };
      const uInt in = chunk(input->size());
      const uInt room = chunk(out.size());
      z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input->data()));
      z_.avail_in = in;
      z_.next_out = reinterpret_cast<Bytef*>(out.data());
      z_.avail_out = room;
      const int result = inflate(&z_, Z_NO_FLUSH);
      input->remove_prefix(in - z_.avail_in);
      done = room - z_.avail_out;
      if (result == Z_STREAM_END) {
        ended_ = true;
      } else if (result != Z_OK && !(result == Z_BUF_ERROR && input->empty())) {
        return Corrupt(z_.msg != nullptr ? z_.msg : "no such data");
      }
    }
    // Output may be held back though the input is gone.
    if (done == 0 && begun_ && !ended_ && input->empty()) {
      z_.next_in = nullptr;
      z_.avail_in = 0;
      z_.next_out = reinterpret_cast<Bytef*>(out.data());
      z_.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), 1u << 30));
      const uInt room = z_.avail_out;
      const int result = inflate(&z_, Z_NO_FLUSH);
      done = room - z_.avail_out;
      if (result == Z_STREAM_END) ended_ = true;
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        return Corrupt(z_.msg != nullptr ? z_.msg : "no such data");
      }
    }
    return done;
  }

  bool AtEnd() const override { return ended_; }

 private:
  static absl::Status Corrupt(absl::string_view why) {
    return absl::DataLossError(absl::StrCat("the compressed body is corrupt: ", why));
  }

  // A stream, or the next member of a gzip file (RFC 1952, 2.2).
  absl::Status Begin(char first) {
    if (ended_) {
      if (!gzip_ || first != '\x1f') return Corrupt("there is something behind its end");
      ended_ = false;
      return inflateReset(&z_) == Z_OK ? absl::OkStatus() : Corrupt("inflateReset");
    }
    // zlib's first byte has 8 in its lower half, and a window of at most 32 KiB in the
    // upper one.
    const bool wrapped = (first & 0x0f) == 8 && (static_cast<uint8_t>(first) >> 4) <= 7;
    if (inflateInit2(&z_, gzip_ ? 15 + 16 : wrapped ? 15 : -15) != Z_OK) {
      return absl::ResourceExhaustedError("no memory to decompress");
    }
    begun_ = true;
    return absl::OkStatus();
  }

  const bool gzip_;
  bool begun_ = false;
  bool ended_ = false;
  z_stream z_ = {};
};

// RFC 7932.
class BrotliDecompressor final : public Decompressor {
 public:
  BrotliDecompressor() : state_(BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {}
  ~BrotliDecompressor() override { BrotliDecoderDestroyInstance(state_); }

  absl::StatusOr<size_t> Next(absl::string_view* input, absl::Span<char> out) override {
    if (state_ == nullptr) return absl::ResourceExhaustedError("no memory to decompress");
    if (ended_) {
      if (input->empty()) return 0;
      return absl::DataLossError(
          "the compressed body is corrupt: there is something behind its end");
    }
    size_t in = input->size();
    const auto* next_in = reinterpret_cast<const uint8_t*>(input->data());
    size_t room = out.size();
    auto* next_out = reinterpret_cast<uint8_t*>(out.data());
    const BrotliDecoderResult result =
        BrotliDecoderDecompressStream(state_, &in, &next_in, &room, &next_out, nullptr);
    input->remove_prefix(input->size() - in);
    if (result == BROTLI_DECODER_RESULT_ERROR) {
      return absl::DataLossError(
          absl::StrCat("the compressed body is corrupt: ",
                       BrotliDecoderErrorString(BrotliDecoderGetErrorCode(state_))));
    }
    ended_ = result == BROTLI_DECODER_RESULT_SUCCESS;
    if (ended_ && out.size() == room && !input->empty()) return Next(input, out);
    return out.size() - room;
  }

  bool AtEnd() const override { return ended_; }

 private:
  BrotliDecoderState* const state_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Decompressor> Decompressor::For(absl::string_view coding) {
  if (absl::EqualsIgnoreCase(coding, "gzip") ||
      absl::EqualsIgnoreCase(coding, "x-gzip")) {
    return std::make_unique<ZlibDecompressor>(true);
  }
  if (absl::EqualsIgnoreCase(coding, "deflate")) {
    return std::make_unique<ZlibDecompressor>(false);
  }
  if (absl::EqualsIgnoreCase(coding, "br")) return std::make_unique<BrotliDecompressor>();
  return nullptr;
}

}  // namespace grove::http::http_internal
