#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/content_coding.h"
#include "grove/net/http/date.h"
#include "grove/net/http/internal/byte_ranges.h"
#include "grove/net/http/internal/websocket_handshake.h"
#include "grove/net/http/preconditions.h"
#include "grove/net/http/request.h"

// Whatever a peer may say in the fields that grove itself looks at. The first byte says
// in which.
namespace grove::http {
namespace {

using http_internal::ByteRange;
using http_internal::RangeKind;

constexpr time_t kNow = 1'700'000'000;

void TryRange(absl::string_view text) {
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, uint64_t{1} << 40}) {
    std::vector<ByteRange> parts;
    const RangeKind kind = http_internal::ParseRanges(text, size, 16, &parts);
    GROVE_CHECK(
        (kind == RangeKind::kParts) == !parts.empty() || kind == RangeKind::kWhole,
        "which kind?");
    if (kind != RangeKind::kParts) continue;
    GROVE_CHECK(parts.size() <= 16, "too many");
    uint64_t total = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
      const ByteRange& a = parts[i];
      GROVE_CHECK(a.count > 0 && a.first < size && a.count <= size - a.first, "outside");
      total += a.count;
      for (size_t k = 0; k < i; ++k) {
        const ByteRange& b = parts[k];
        GROVE_CHECK(a.first + a.count < b.first || b.first + b.count < a.first,
                    "twice the same");
      }
    }
    GROVE_CHECK(total <= size, "more than there is");
  }
}

void TryAcceptEncoding(absl::string_view text) {
  const Field field{"accept-encoding", text};
  const AcceptedCodings accepted(HeaderView({&field, 1}));
  for (absl::string_view coding : {"br", "gzip", "deflate", "identity", "other"}) {
    const int weight = accepted.Weight(coding);
    GROVE_CHECK(weight >= 0 && weight <= 1000, "no weight");
  }
  const absl::string_view best = accepted.Best({"br", "gzip"});
  GROVE_CHECK(best.empty() || accepted.Weight(best) > 0, "it is not accepted");
}

void TryPreconditions(absl::string_view text) {
  for (absl::string_view name :
       {"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}) {
    const Field field{name, text};
    Request request;
    request.Set({.fields = {&field, 1}});
    const Precondition with = CheckPreconditions(request, "\"tag\"", kNow);
    if (text == "*" && name == "If-Match") {
      GROVE_CHECK(with == Precondition::kHolds, "there is something");
    }
    CheckPreconditions(request, "W/\"tag\"", std::nullopt);
    CheckPreconditions(request, "", std::nullopt);
  }
  const Field field{"If-Range", text};
  Request request;
  request.Set({.fields = {&field, 1}});
  GROVE_CHECK(!RangeHolds(request, "W/\"tag\"", std::nullopt, kNow), "a weak tag");
  RangeHolds(request, "\"tag\"", kNow, kNow + 10);
}

void TryDate(absl::string_view text) {
  const std::optional<time_t> date = ParseDate(text, kNow);
  if (!date.has_value()) return;
  GROVE_CHECK(ParseDate(FormatDate(*date), kNow) == date, "another date");
}

void TryWebSocketExtensions(absl::string_view text) {
  const Field field{"Sec-WebSocket-Extensions", text};
  const auto extensions = http_internal::ParseExtensions(HeaderView({&field, 1}));
  if (!extensions.has_value()) return;
  const auto check = [](const http_internal::DeflateParameters& p) {
    for (int bits : {p.server_max_window_bits, p.client_max_window_bits}) {
      GROVE_CHECK(bits >= 8 && bits <= 15, "no window: ", bits);
    }
  };
  for (int window : {9, 12, 15}) {
    for (bool keep : {false, true}) {
      if (const auto answer =
              http_internal::AnswerDeflateOffer(*extensions, window, keep)) {
        check(answer->parameters);
        GROVE_CHECK(IsFieldValue(answer->field), "no field");
      }
      for (const http_internal::Extension& e : *extensions) {
        if (const auto agreed = http_internal::CheckDeflateAnswer(e, window, keep)) {
          check(*agreed);
        }
      }
    }
  }
}

void TryTarget(absl::string_view text) {
  if (text.empty()) return;
  Request request;
  request.Set({.target = text});
  GROVE_CHECK(!request.path().empty(), "no path");
  for (char c : request.DebugString()) {
    GROVE_CHECK(c == '\n' || static_cast<unsigned char>(c) >= ' ', "not escaped");
  }
  if (const auto decoded = DecodePercent(request.path())) {
    GROVE_CHECK(decoded->size() <= request.path().size(), "larger than before");
    GROVE_CHECK(!absl::StrContains(*decoded, absl::string_view("\0", 1)), "a zero byte");
  }
}

}  // namespace
}  // namespace grove::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace grove::http;  // NOLINT
  if (size == 0) return 0;
  // Somewhere of its own, so that a read behind it is seen.
  const std::string copy(reinterpret_cast<const char*>(data + 1), size - 1);
  if (!IsFieldValue(copy)) return 0;
  switch (data[0]) {
    case 'r':
      TryRange(copy);
      break;
    case 'a':
      TryAcceptEncoding(copy);
      break;
    case 'p':
      TryPreconditions(copy);
      break;
    case 'd':
      TryDate(copy);
      break;
    case 'w':
      TryWebSocketExtensions(copy);
      break;
    case 't':
      TryTarget(copy);
      break;
    default:
      break;
  }
  return 0;
}
