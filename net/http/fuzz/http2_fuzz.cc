#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/hub/clock.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/http2_connection.h"
#include "grove/net/http/server.h"
#include "grove/net/testing/memory_listener.h"

// Whatever a client of HTTP/2 may send behind its preface: the server must come to its
// end, leave no greenlet behind, and give handlers nothing that is not a request. The
// first byte says in how large pieces it comes.
namespace grove::http {
namespace {

void Handle(Request& request, ResponseWriter& response) {
  GROVE_CHECK(!request.method().empty() && !request.path().empty(), "no request");
  GROVE_CHECK(!request.host().empty(), "no host");
  for (const Field& f : request.headers()) {
    GROVE_CHECK(IsToken(f.name) && IsFieldValue(f.value), "no field");
  }
  const absl::StatusOr<std::string> body = request.body().ReadAll(1 << 16);
  if (body.ok()) response.Send(*body).IgnoreError();
}

void Play(absl::string_view input, size_t piece) {
  ManualClock clock;
  HubScope scope({.clock = &clock});
  {
    net::MemoryListener listener({.capacity = 1 << 20, .max_piece = piece});
    HttpServer server(listener, &Handle, {.max_head = 4096, .max_body = 1 << 16});
    server.Start();
    net::MemoryStream client = *listener.Connect();
    client.Write(http_internal::kHttp2Preface).IgnoreError();
    client.Write(input).IgnoreError();
    client.ShutdownWrite().IgnoreError();
    char buffer[4096];
    for (;;) {
      const absl::StatusOr<size_t> n = client.Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) break;
    }
    client.Close();
    server.Stop(absl::Hours(1));
  }
  GROVE_CHECK(LiveGreenlets() == 0, "greenlets are left");
}

}  // namespace
}  // namespace grove::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 8192) return 0;
  const absl::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  grove::http::Play(input, data[0] == 0 ? 8192 : data[0]);
  return 0;
}
