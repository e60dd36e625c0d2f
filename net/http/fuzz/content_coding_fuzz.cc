#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/content_coder.h"

// Whatever a client may send as a coded body; the first byte says by which coding. It
// must come out the same in whatever pieces it comes, and what is coded must be decoded
// to what it was.
namespace grove::http::http_internal {
namespace {

constexpr size_t kMost = 100'000;

std::string Decode(absl::string_view coding, absl::string_view data, size_t piece) {
  const std::unique_ptr<ContentDecoder> decoder = MakeContentDecoder(coding);
  GROVE_CHECK(decoder != nullptr, "no decoder");
  std::vector<char> out(piece % 100 + 1);
  std::string text;
  while (text.size() < kMost) {
    absl::string_view next = data.substr(0, piece);
    const size_t before = next.size();
    const absl::StatusOr<size_t> n = decoder->Decode(&next, absl::MakeSpan(out));
    data.remove_prefix(before - next.size());
    // How far it came depends on the pieces.
    if (!n.ok()) return "corrupt";
    GROVE_CHECK(*n <= out.size(), "more than there is room");
    text.append(out.data(), *n);
    if (*n > 0) continue;
    if (decoder->ended()) return data.empty() ? text : "with a tail";
    GROVE_CHECK(next.empty(), "it does not go on");
    if (data.empty()) return "cut";
  }
  return "too large";
}

}  // namespace
}  // namespace grove::http::http_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace grove::http::http_internal;  // NOLINT
  if (size == 0) return 0;
  const absl::string_view codings[] = {"gzip", "deflate", "br"};
  const absl::string_view coding = codings[data[0] % 3];
  const std::string input(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string whole = Decode(coding, input, size);
  GROVE_CHECK(whole == Decode(coding, input, 1), "pieces make a difference");
  GROVE_CHECK(whole == Decode(coding, input, 13), "pieces make a difference");

  std::string coded;
  const bool ok = MakeContentEncoder(coding, 1, input.size())
                      ->Encode(input, ContentEncoder::Step::kEnd, &coded)
                      .ok();
  GROVE_CHECK(ok && Decode(coding, coded, 7) == input, "another text");
  return 0;
}
