#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/chunk_decoder.h"
#include "grove/net/http/internal/request_parser.h"

// Whatever a client may send: heads one after the other, with their bodies. It must be
// taken the same way whether it comes at once, or byte by byte.
namespace grove::http::http_internal {
namespace {

constexpr RequestParser::Limits kLimits{.request_line = 200, .head = 1000, .fields = 10};
constexpr ChunkDecoder::Limits kChunkLimits{
    .extensions = 50, .trailers = 100, .trailer_fields = 5};

struct Message {
  std::string head;
  std::string body;
  bool refused = false;

  friend bool operator==(const Message&, const Message&) = default;
};

// The head at the front of `input`, given in pieces; how long it is, or 0.
size_t ReadHead(absl::string_view input, size_t piece, RequestParser* parser,
                Message* message) {
  for (size_t n = piece;; n += piece) {
    const absl::string_view seen = input.substr(0, n);
    // Somewhere else each time, so that nobody keeps an address.
    const std::string copy(seen);
    switch (parser->Feed(copy, kLimits)) {
      case RequestParser::State::kRefused:
        GROVE_CHECK(parser->status() >= 400 && parser->status() < 600, "which status?");
        message->refused = true;
        return 0;
      case RequestParser::State::kDone: {
        GROVE_CHECK(parser->head_size() <= seen.size(), "more than there is");
        GROVE_CHECK(!(parser->chunked() && parser->has_content_length()), "both");
        message->head =
            std::string(parser->method()) + " " + std::string(parser->target());
        for (const Field& f : parser->fields()) {
          GROVE_CHECK(IsToken(f.name) && IsFieldValue(f.value), "no field");
          message->head += "\n" + std::string(f.name) + ":" + std::string(f.value);
        }
        return parser->head_size();
      }
      case RequestParser::State::kMore:
        if (n >= input.size()) return 0;
    }
  }
}

size_t ReadChunked(absl::string_view input, size_t piece, Message* message) {
  ChunkDecoder decoder;
  size_t at = 0;
  for (;;) {
    const absl::string_view seen = input.substr(at, piece);
    const ChunkDecoder::Step step = decoder.Next(seen, 7, kChunkLimits);
    GROVE_CHECK(step.consumed <= seen.size(), "more than there is");
    at += step.consumed;
    switch (step.state) {
      case ChunkDecoder::State::kData:
        GROVE_CHECK(!step.data.empty() && step.data.size() <= 7, "no data");
        message->body.append(step.data.data(), step.data.size());
        break;
      case ChunkDecoder::State::kEnd:
        for (const Field& f : decoder.trailers()) {
          message->body += "\n" + std::string(f.name) + ":" + std::string(f.value);
        }
        return at;
      case ChunkDecoder::State::kRefused:
        message->refused = true;
        return 0;
      case ChunkDecoder::State::kMore:
        if (at == input.size()) return 0;
    }
  }
}

std::vector<Message> ReadAll(absl::string_view input, size_t piece) {
  std::vector<Message> all;
  RequestParser parser;
  while (!input.empty()) {
    Message& message = all.emplace_back();
    parser.Reset();
    const size_t head = ReadHead(input, piece, &parser, &message);
    if (head == 0) break;
    input.remove_prefix(head);
    size_t body = 0;
    if (parser.chunked()) {
      body = ReadChunked(input, piece, &message);
      if (body == 0) break;
    } else {
      if (parser.content_length() > input.size()) break;
      body = static_cast<size_t>(parser.content_length());
      message.body = std::string(input.substr(0, body));
    }
    input.remove_prefix(body);
  }
  return all;
}

}  // namespace
}  // namespace grove::http::http_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using grove::http::http_internal::ReadAll;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const auto whole = ReadAll(input, size + 1);
  GROVE_CHECK(whole == ReadAll(input, 1), "pieces make a difference");
  GROVE_CHECK(whole == ReadAll(input, 13), "pieces make a difference");
  return 0;
}
