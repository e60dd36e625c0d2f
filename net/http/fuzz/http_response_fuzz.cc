#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/chunk_decoder.h"
#include "grove/net/http/internal/decompressor.h"
#include "grove/net/http/internal/response_parser.h"
#include "grove/net/http/url.h"

// Whatever a server may send: heads one after the other, with their bodies, framed and
// compressed in each way. It must be taken the same way whether it comes at once, or byte
// by byte. The first byte says by which method was asked.
namespace grove::http::http_internal {
namespace {

constexpr ResponseParser::Limits kLimits{.head = 1000, .fields = 10};
constexpr ChunkDecoder::Limits kChunkLimits{
    .extensions = 50, .trailers = 100, .trailer_fields = 5};
constexpr size_t kDecompressed = 100000;

struct Message {
  std::string head;
  std::string body;
  std::string decompressed;
  bool refused = false;

  friend bool operator==(const Message&, const Message&) = default;
};

// The head at the front of `input`, given in pieces; how long it is, or 0.
size_t ReadHead(absl::string_view input, absl::string_view method, size_t piece,
                ResponseHead* head, Message* message) {
  ResponseParser parser;
  for (size_t n = piece;; n += piece) {
    // Somewhere else each time, so that nobody keeps an address.
    const std::string seen(input.substr(0, n));
    switch (parser.Feed(seen, method, kLimits, head)) {
      case ResponseParser::State::kRefused:
        GROVE_CHECK(*parser.reason() != '\0', "why?");
        message->refused = true;
        return 0;
      case ResponseParser::State::kDone:
        GROVE_CHECK(parser.head_size() <= seen.size(), "more than there is");
        GROVE_CHECK(head->status >= 100 && head->status < 600, "no status");
        GROVE_CHECK(head->end != BodyEnd::kLength || *head->content_length > 0, "none");
        GROVE_CHECK(head->end != BodyEnd::kClose || !head->keep_alive, "without an end");
        GROVE_CHECK(IsFieldValue(head->reason), "no reason");
        message->head = std::to_string(head->status) + std::string(head->reason);
        for (const Field& f : head->fields) {
          GROVE_CHECK(IsToken(f.name) && IsFieldValue(f.value), "no field");
          message->head += "\n" + std::string(f.name) + ":" + std::string(f.value);
        }
        return parser.head_size();
      case ResponseParser::State::kMore:
        if (n >= input.size()) return 0;
    }
  }
}

// False if the body has no end, or is none.
bool ReadChunked(absl::string_view* input, size_t piece, Message* message) {
  ChunkDecoder decoder;
  for (;;) {
    const ChunkDecoder::Step step =
        decoder.Next(input->substr(0, piece), 7, kChunkLimits);
    input->remove_prefix(step.consumed);
    switch (step.state) {
      case ChunkDecoder::State::kData:
        message->body.append(step.data.data(), step.data.size());
        break;
      case ChunkDecoder::State::kEnd:
        return true;
      case ChunkDecoder::State::kRefused:
        message->refused = true;
        return false;
      case ChunkDecoder::State::kMore:
        if (input->empty()) return false;
    }
  }
}

void Decompress(absl::string_view coding, absl::string_view body, size_t piece,
                Message* message) {
  const std::unique_ptr<Decompressor> decompressor = Decompressor::For(coding);
  if (decompressor == nullptr) return;
  std::vector<char> out(piece % 100 + 1);
  while (message->decompressed.size() < kDecompressed) {
    absl::string_view next = body.substr(0, piece);
    const size_t before = next.size();
    const absl::StatusOr<size_t> n = decompressor->Next(&next, absl::MakeSpan(out));
    body.remove_prefix(before - next.size());
    if (!n.ok()) {
      // How far it came depends on the pieces.
      message->decompressed = "corrupt";
      return;
    }
    GROVE_CHECK(*n <= out.size() && (*n > 0 || next.empty()), "it does not go on");
    message->decompressed.append(out.data(), *n);
    if (*n == 0 && body.empty()) {
      if (!decompressor->AtEnd()) message->decompressed = "cut";
      return;
    }
  }
  message->decompressed = "too large";
}

std::vector<Message> ReadAll(absl::string_view input, absl::string_view method,
                             size_t piece) {
  std::vector<Message> all;
  while (!input.empty()) {
    Message& message = all.emplace_back();
    ResponseHead head;
    const size_t size = ReadHead(input, method, piece, &head, &message);
    if (size == 0) break;
    input.remove_prefix(size);
    if (head.end == BodyEnd::kChunked) {
      if (!ReadChunked(&input, piece, &message)) break;
    } else if (head.end != BodyEnd::kNone) {
      const size_t n = head.end == BodyEnd::kClose
                           ? input.size()
                           : static_cast<size_t>(
                                 std::min<uint64_t>(*head.content_length, input.size()));
      message.body = std::string(input.substr(0, n));
      input.remove_prefix(n);
    }
    if (const auto coding = head.headers().Get("content-encoding")) {
      Decompress(*coding, message.body, piece, &message);
    }
    if (const auto location = head.headers().Get("location")) {
      const absl::StatusOr<Url> url =
          Url::Parse("http://a.test/b/c?d")->Resolve(*location);
      if (url.ok()) {
        const absl::StatusOr<Url> again = Url::Parse(url->ToString());
        GROVE_CHECK(again.ok() && again->ToString() == url->ToString(),
                    "what is a URL is not: ", url->ToString());
      }
    }
    if (head.end != BodyEnd::kNone && !head.keep_alive) break;
  }
  return all;
}

}  // namespace
}  // namespace grove::http::http_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using grove::http::http_internal::ReadAll;
  absl::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const absl::string_view method = input[0] == 'H' ? "HEAD" : "GET";
  input.remove_prefix(1);
  const auto whole = ReadAll(input, method, size + 1);
  GROVE_CHECK(whole == ReadAll(input, method, 1), "pieces make a difference");
  GROVE_CHECK(whole == ReadAll(input, method, 13), "pieces make a difference");
  return 0;
}
