#ifndef GROVE_NET_HTTP_INTERNAL_WEBSOCKET_DEFLATE_H_
#define GROVE_NET_HTTP_INTERNAL_WEBSOCKET_DEFLATE_H_

#include <zlib.h>

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace grove::http::http_internal {

// MessageInflater
//
// Messages of permessage-deflate (RFC 7692, 7.2.2), decompressed as they come. It takes
// memory when the first one comes: at most 48 KiB or so.
class MessageInflater {
 public:
  enum class Result { kOk, kTooLarge, kMalformed };

  // `keep_context`: messages may refer to earlier ones.
  MessageInflater(int window_bits, bool keep_context)
      : window_bits_(window_bits), keep_context_(keep_context) {}
  MessageInflater(const MessageInflater&) = delete;
  MessageInflater& operator=(const MessageInflater&) = delete;
  ~MessageInflater();

  // Appends to `out` what comes out of this piece; it never gets longer than `limit`,
  // whatever the piece claims to be.
  Result Feed(absl::string_view piece, size_t limit, std::string* out);
  // The message's end.
  Result End(size_t limit, std::string* out);

 private:
  Result Run(absl::string_view piece, size_t limit, std::string* out);

  const int window_bits_;
  const bool keep_context_;
  bool made_ = false;
  z_stream z_{};
};

// MessageDeflater
//
// Compresses whole messages (7.2.1). It takes memory with the first one, as
// WebSocketDeflateOptions says.
class MessageDeflater {
 public:
  MessageDeflater(int window_bits, int level, bool keep_context)
      : window_bits_(window_bits), level_(level), keep_context_(keep_context) {}
  MessageDeflater(const MessageDeflater&) = delete;
  MessageDeflater& operator=(const MessageDeflater&) = delete;
  ~MessageDeflater();

  // The message as it is sent. False if there is no memory.
  bool Deflate(absl::string_view message, std::string* out);
  // The peer may not get what was compressed last: refer to nothing before.
  void Forget();

 private:
  const int window_bits_;
  const int level_;
  const bool keep_context_;
  bool made_ = false;
  z_stream z_{};
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_WEBSOCKET_DEFLATE_H_
