#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/hub/clock.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/client.h"
#include "grove/net/testing/memory_listener.h"

// Whatever a server of HTTP/2 may send to who has asked for two things, of which one has
// a body: each must come to its end, with a response that is one or an error, and leave
// no greenlet behind. The first byte says whether the server stays (1), and in how large
// pieces it comes (the other bits).
namespace grove::http {
namespace {

constexpr size_t kMaxBody = 1 << 16;

void Ask(HttpClient& client, const ClientRequest& request) {
  absl::StatusOr<ClientResponse> response = client.Send(request);
  if (!response.ok()) {
    GROVE_CHECK(!response.status().message().empty(), "why?");
    return;
  }
  GROVE_CHECK(response->status() >= 200 && response->status() < 600, "no status");
  for (const Field& f : response->headers()) {
    GROVE_CHECK(IsToken(f.name) && IsFieldValue(f.value), "no field");
  }
  const absl::StatusOr<std::string> body = response->ReadAll(kMaxBody);
  if (!body.ok()) return;
  GROVE_CHECK(body->size() <= kMaxBody, "too large");
  for (const Field& f : response->trailers()) {
    GROVE_CHECK(IsToken(f.name) && IsFieldValue(f.value), "no field");
  }
}

void Serve(net::MemoryStream stream, absl::string_view input, bool stays) {
  Sleep(absl::Milliseconds(1));  // both requests are on their way
  stream.Write(input).IgnoreError();
  if (!stays) stream.ShutdownWrite().IgnoreError();
  char buffer[4096];
  for (;;) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0) return;
  }
}

void Play(absl::string_view input, size_t piece, bool stays) {
  ManualClock clock;
  HubScope scope({.clock = &clock});
  {
    net::MemoryListener listener({.capacity = 1 << 20, .max_piece = piece});
    std::vector<Greenlet<>> servers;
    HttpClientOptions options;
    options.http2_prior_knowledge = true;
    options.dial = [&](const ClientEndpoint&,
                       Deadline) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
      auto near = std::make_unique<net::MemoryStream>(*listener.Connect());
      servers.push_back(
          Spawn([&, far = std::make_shared<net::MemoryStream>(*listener.Accept())] {
            Serve(std::move(*far), input, stays);
          }));
      return near;
    };
    options.max_head = 4096;
    options.max_fields = 50;
    options.max_trailers = 1000;
    options.max_interim = 3;
    options.max_body = kMaxBody;
    {
      HttpClient client(std::move(options));
      const Greenlet<> get = Spawn([&] { Ask(client, {.url = "http://a.test/get"}); });
      const std::string body(1000, 'b');
      Ask(client, {.method = "POST", .url = "http://a.test/post", .body = body});
      get.Join();
    }
    for (Greenlet<>& g : servers) g.Join();
  }
  GROVE_CHECK(LiveGreenlets() == 0, "greenlets are left");
}

}  // namespace
}  // namespace grove::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 8192) return 0;
  const absl::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t piece = data[0] >> 1;
  grove::http::Play(input, piece == 0 ? 8192 : piece, (data[0] & 1) != 0);
  return 0;
}
