#include "grove/net/http/internal/content_coder.h"

#include <stdlib.h>

#include <algorithm>
#include <cstddef>
#include <new>

#include "brotli/decode.h"
#include "brotli/encode.h"
#include "grove/hub/internal/per_thread.h"
#include "zlib.h"

namespace grove::http::http_internal {
namespace {

constinit thread_local hub_internal::PerThread<size_t> coder_memory;

// Both libraries free what they have got on the thread that got it: a hub's.
void* Allocate(void*, size_t size) {
  constexpr size_t kHeader = alignof(std::max_align_t);
  void* p = malloc(size + kHeader);
  if (p == nullptr) return nullptr;
  *static_cast<size_t*>(p) = size;
  coder_memory.get() += size;
  return static_cast<char*>(p) + kHeader;
}
void Free(void*, void* p) {
  if (p == nullptr) return;
  void* begin = static_cast<char*>(p) - alignof(std::max_align_t);
  coder_memory.get() -= *static_cast<size_t*>(begin);
  free(begin);
}
void* ZAllocate(void*, unsigned count, unsigned size) {
  return Allocate(nullptr, size_t{count} * size);
}

constexpr size_t kRoom = 4096;

// The smallest window that holds it all.
int WindowFor(std::optional<uint64_t> size, int least, int most) {
  int bits = most;
  while (size.has_value() && bits > least && (uint64_t{1} << (bits - 1)) >= *size) --bits;
  return bits;
}

z_stream NewZStream() {
  z_stream z{};
  z.zalloc = &ZAllocate;
  z.zfree = &Free;
  return z;
}
const Bytef* In(absl::string_view data) {
  return reinterpret_cast<const Bytef*>(data.data());
}

// --- zlib -------------------------------------------------------------------------

class ZlibEncoder final : public ContentEncoder {
 public:
  ZlibEncoder(bool gzip, int level, std::optional<uint64_t> size) {
    const int window = WindowFor(size, 9, 15);
    if (deflateInit2(&z_, level, Z_DEFLATED, window + (gzip ? 16 : 0), 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ZlibEncoder(const ZlibEncoder&) = delete;
  ZlibEncoder& operator=(const ZlibEncoder&) = delete;
  ~ZlibEncoder() override { deflateEnd(&z_); }

  absl::Status Encode(absl::string_view data, Step step, std::string* out) override {
    // Without anything new there is nothing to flush, and zlib would say so.
    if (step == Step::kFlush && data.empty() && flushed_) return absl::OkStatus();
    flushed_ = step == Step::kFlush;
    const int flush = step == Step::kMore    ? Z_NO_FLUSH
                      : step == Step::kFlush ? Z_SYNC_FLUSH
                                             : Z_FINISH;
    z_.next_in = const_cast<Bytef*>(In(data));
    z_.avail_in = static_cast<uInt>(data.size());
    int result = Z_OK;
    do {
      const size_t before = out->size();
      out->resize(before + kRoom);
      z_.next_out = reinterpret_cast<Bytef*>(out->data() + before);
      z_.avail_out = kRoom;
      result = deflate(&z_, flush);
      out->resize(before + kRoom - z_.avail_out);
      if (result == Z_STREAM_ERROR) return absl::InternalError("zlib cannot compress");
    } while (z_.avail_out == 0 && result != Z_STREAM_END);
    return absl::OkStatus();
  }

 private:
  z_stream z_ = NewZStream();
  bool flushed_ = false;
};

class ZlibDecoder final : public ContentDecoder {
 public:
  explicit ZlibDecoder(bool gzip) {
    if (inflateInit2(&z_, 15 + (gzip ? 16 : 0)) != Z_OK) throw std::bad_alloc();
  }
  ZlibDecoder(const ZlibDecoder&) = delete;
  ZlibDecoder& operator=(const ZlibDecoder&) = delete;
  ~ZlibDecoder() override { inflateEnd(&z_); }

  absl::StatusOr<size_t> Decode(absl::string_view* data, absl::Span<char> out) override {
    z_.next_in = const_cast<Bytef*>(In(*data));
    z_.avail_in = static_cast<uInt>(data->size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&z_, Z_NO_FLUSH);
    data->remove_prefix(data->size() - z_.avail_in);
    ended_ = result == Z_STREAM_END;
    if (!ended_ && result != Z_OK && result != Z_BUF_ERROR) {
      return absl::InvalidArgumentError("a body that is not what its coding says");
    }
    return out.size() - z_.avail_out;
  }
  bool ended() const override { return ended_; }

 private:
  z_stream z_ = NewZStream();
  bool ended_ = false;
};

// --- brotli -----------------------------------------------------------------------

// What it holds grows with its window, many times as fast.
constexpr int kBrotliWindow = 16;

class BrotliEncoder final : public ContentEncoder {
 public:
  BrotliEncoder(int quality, std::optional<uint64_t> size)
      : state_(BrotliEncoderCreateInstance(&Allocate, &Free, nullptr)) {
    if (state_ == nullptr) throw std::bad_alloc();
    BrotliEncoderSetParameter(state_, BROTLI_PARAM_QUALITY,
                              static_cast<uint32_t>(quality));
    BrotliEncoderSetParameter(state_, BROTLI_PARAM_LGWIN,
                              static_cast<uint32_t>(WindowFor(size, 10, kBrotliWindow)));
    if (size.has_value()) {
      BrotliEncoderSetParameter(
          state_, BROTLI_PARAM_SIZE_HINT,
          static_cast<uint32_t>(std::min<uint64_t>(*size, uint64_t{1} << 30)));
    }
  }
  BrotliEncoder(const BrotliEncoder&) = delete;
  BrotliEncoder& operator=(const BrotliEncoder&) = delete;
  ~BrotliEncoder() override { BrotliEncoderDestroyInstance(state_); }

  absl::Status Encode(absl::string_view data, Step step, std::string* out) override {
    if (step == Step::kFlush && data.empty() && flushed_) return absl::OkStatus();
    flushed_ = step == Step::kFlush;
    const BrotliEncoderOperation op = step == Step::kMore    ? BROTLI_OPERATION_PROCESS
                                      : step == Step::kFlush ? BROTLI_OPERATION_FLUSH
                                                             : BROTLI_OPERATION_FINISH;
    const uint8_t* next = reinterpret_cast<const uint8_t*>(data.data());
    size_t left = data.size();
    do {
      size_t none = 0;
      if (!BrotliEncoderCompressStream(state_, op, &left, &next, &none, nullptr,
                                       nullptr)) {
        return absl::InternalError("brotli cannot compress");
      }
      size_t size = 0;
      const uint8_t* made = BrotliEncoderTakeOutput(state_, &size);
      out->append(reinterpret_cast<const char*>(made), size);
    } while (left > 0 || BrotliEncoderHasMoreOutput(state_));
    return absl::OkStatus();
  }

 private:
  BrotliEncoderState* const state_;
  bool flushed_ = false;
};

class BrotliDecoder final : public ContentDecoder {
 public:
  BrotliDecoder() : state_(BrotliDecoderCreateInstance(&Allocate, &Free, nullptr)) {
    if (state_ == nullptr) throw std::bad_alloc();
  }
  BrotliDecoder(const BrotliDecoder&) = delete;
  BrotliDecoder& operator=(const BrotliDecoder&) = delete;
  ~BrotliDecoder() override { BrotliDecoderDestroyInstance(state_); }

  absl::StatusOr<size_t> Decode(absl::string_view* data, absl::Span<char> out) override {
    const uint8_t* next = reinterpret_cast<const uint8_t*>(data->data());
    size_t left = data->size();
    uint8_t* to = reinterpret_cast<uint8_t*>(out.data());
    size_t room = out.size();
    const BrotliDecoderResult result =
        BrotliDecoderDecompressStream(state_, &left, &next, &room, &to, nullptr);
    data->remove_prefix(data->size() - left);
    ended_ = result == BROTLI_DECODER_RESULT_SUCCESS;
    if (result == BROTLI_DECODER_RESULT_ERROR) {
      return absl::InvalidArgumentError("a body that is not what its coding says");
    }
    return out.size() - room;
  }
  bool ended() const override { return ended_; }

 private:
  BrotliDecoderState* const state_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<ContentEncoder> MakeContentEncoder(absl::string_view coding, int level,
                                                   std::optional<uint64_t> size) {
  if (coding == "br") return std::make_unique<BrotliEncoder>(level, size);
  if (coding != "gzip" && coding != "deflate") return nullptr;
  return std::make_unique<ZlibEncoder>(coding == "gzip", level, size);
}

std::unique_ptr<ContentDecoder> MakeContentDecoder(absl::string_view coding) {
  if (coding == "br") return std::make_unique<BrotliDecoder>();
  if (coding != "gzip" && coding != "deflate") return nullptr;
  return std::make_unique<ZlibDecoder>(coding == "gzip");
}

size_t CoderMemory() { return coder_memory; }

}  // namespace grove::http::http_internal
