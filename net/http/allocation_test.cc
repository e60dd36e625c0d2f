#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/server.h"
#include "grove/net/tcp.h"

// What a request costs in memory: nothing, once its connection has had one. This program
// counts calls of operator new; sanitizers have their own, so it is not run under them.
namespace {
thread_local uint64_t allocations = 0;
}  // namespace

void* operator new(size_t size) {
  ++allocations;
  void* p = malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept { free(p); }
void operator delete(void* p, size_t) noexcept { free(p); }

namespace grove::http {
namespace {

class HttpAllocations : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }

  static void Handle(Request& request, ResponseWriter& response) {
    char buffer[100];
    for (;;) {
      const absl::StatusOr<size_t> n = request.body().Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) break;
    }
    response.headers().Add("X-Host", request.host());
    response.Send(200, "text/plain", "Hello, world!").IgnoreError();
  }

  // Of a thousand turns, in each of which all of this is asked and answered.
  static uint64_t Count(const std::string& requests, int responses) {
    HttpServer server(*net::TcpListener::Listen(*net::Address::Parse("127.0.0.1:0")),
                      &Handle);
    server.Start();
    net::TcpStream client = *net::TcpStream::Connect(server.connections().address());
    char buffer[16 << 10];
    const auto turn = [&] {
      ASSERT_TRUE(client.Write(requests).ok());
      int seen = 0;
      size_t size = 0;
      while (seen < responses) {
        const absl::StatusOr<size_t> n =
            client.Read(absl::MakeSpan(buffer).subspan(size));
        ASSERT_TRUE(n.ok() && *n > 0);
        size += *n;
        seen = 0;
        const absl::string_view text(buffer, size);
        for (size_t at = 0; (at = text.find("Hello, world!", at)) != text.npos; ++at) {
          ++seen;
        }
      }
    };
    for (int i = 0; i < 100; ++i) turn();
    const uint64_t before = allocations;
    for (int i = 0; i < 1000; ++i) turn();
    return allocations - before;
  }
};

// One a second is the date's.
constexpr uint64_t kDates = 60;

GREENLET_TEST_F(HttpAllocations, ARequestMakesNone) {
  EXPECT_LE(Count("GET /a/b?c HTTP/1.1\r\nHost: h\r\nUser-Agent: u\r\n\r\n", 1), kDates);
}

GREENLET_TEST_F(HttpAllocations, ABodyMakesNone) {
  EXPECT_LE(
      Count(absl::StrCat("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n",
                         std::string(500, 'x')),
            1),
      kDates);
  EXPECT_LE(Count("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                  "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                  1),
            kDates);
}

GREENLET_TEST_F(HttpAllocations, RequestsAtOnceMakeNone) {
  std::string requests;
  for (int i = 0; i < 20; ++i) requests += "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  EXPECT_LE(Count(requests, 20), kDates);
}

}  // namespace
}  // namespace grove::http
