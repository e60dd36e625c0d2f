#ifndef GROVE_NET_HTTP_HTTP_TEST_UTIL_H_
#define GROVE_NET_HTTP_HTTP_TEST_UTIL_H_

#include <gtest/gtest.h>
#include <malloc.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/server.h"
#include "grove/net/testing/memory_listener.h"

// Tests of what an HttpServer answers, over memory, on the clock of the test: hours pass
// in no time.
namespace grove::http {

inline std::string Get(absl::string_view target, absl::string_view fields = "") {
  return absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}
inline std::string Post(absl::string_view body, absl::string_view fields = "") {
  return absl::StrCat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(),
                      "\r\n", fields, "\r\n", body);
}

// One response, taken apart.
struct Answer {
  std::string head;  // with its last CR LF, without the empty line
  std::string body;  // without chunks' sizes
  bool chunked = false;
  bool whole = true;  // it has come to its end

  bool Has(absl::string_view line) const {
    return absl::StrContains(head, absl::StrCat("\r\n", line, "\r\n"));
  }
  std::string Get(absl::string_view name) const {
    const size_t at = head.find(absl::StrCat("\r\n", name, ": "));
    if (at == head.npos) return "";
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find('\r', begin) - begin);
  }
  int status() const { return head.size() < 12 ? 0 : atoi(head.c_str() + 9); }
};

// Of everything that came over a connection whose response is the last one.
inline Answer Parse(const std::string& text) {
  Answer answer;
  const size_t end = text.find("\r\n\r\n");
  if (end == text.npos) {
    answer.head = text;
    answer.whole = false;
    return answer;
  }
  answer.head = text.substr(0, end + 2);
  absl::string_view rest = absl::string_view(text).substr(end + 4);
  answer.chunked = answer.Has("Transfer-Encoding: chunked");
  if (!answer.chunked) {
    answer.body = std::string(rest);
    return answer;
  }
  answer.whole = false;
  while (!rest.empty()) {
    const size_t size = strtoul(std::string(rest.substr(0, 16)).c_str(), nullptr, 16);
    const size_t begin = rest.find("\r\n");
    if (begin == rest.npos) return answer;
    rest.remove_prefix(begin + 2);
    if (size == 0) {
      answer.whole = rest == "\r\n";
      return answer;
    }
    answer.body += std::string(rest.substr(0, size));
    rest.remove_prefix(std::min(rest.size(), size + 2));
  }
  return answer;
}

// What was allocated and not freed; 0 under sanitizers, which have their own.
inline size_t AllocatedMemory() {
  const struct mallinfo2 m = mallinfo2();
  return m.uordblks + m.hblkhd;
}

class HttpTest : public GreenletTest {
 protected:
  void Start(Handler handler, HttpServerOptions options = {},
             net::MemoryStreamOptions stream = {.capacity = 1 << 20}) {
    listener_.emplace(stream);
    server_ =
        std::make_unique<HttpServer>(*listener_, std::move(handler), std::move(options));
    server_->Start();
  }
  void TearDown() override {
    server_.reset();
    listener_.reset();
  }
  net::MemoryStream Connect() { return *listener_->Connect(); }

  static void Write(net::Stream& stream, absl::string_view data) {
    EXPECT_TRUE(stream.Write(data).ok());
  }
  // What comes until the text ends like this.
  static std::string ReadThrough(net::Stream& stream, absl::string_view end) {
    std::string text;
    char c;
    while (!absl::EndsWith(text, end)) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(&c, 1));
      if (!n.ok() || *n == 0) return text + "<end>";
      text.push_back(c);
    }
    return text;
  }
  static std::string ReadToEnd(net::Stream& stream) {
    std::string text;
    char buffer[1000];
    for (;;) {
      const absl::StatusOr<size_t> n =
          stream.Read(absl::MakeSpan(buffer), Deadline(absl::Hours(1)));
      if (!n.ok()) return text + "<" + std::string(n.status().message()) + ">";
      if (*n == 0) return text;
      text.append(buffer, *n);
    }
  }
  // The answer to one request that asks for the end of the connection.
  Answer Ask(absl::string_view request) {
    net::MemoryStream client = Connect();
    Write(client, request);
    return Parse(ReadToEnd(client));
  }
  Answer AskGet(absl::string_view target, absl::string_view fields = "") {
    return Ask(http::Get(target, absl::StrCat("Connection: close\r\n", fields)));
  }
  Answer AskHead(absl::string_view target, absl::string_view fields = "") {
    return Ask(absl::StrCat("HEAD ", target,
                            " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", fields,
                            "\r\n"));
  }

  std::optional<net::MemoryListener> listener_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_HTTP_TEST_UTIL_H_
