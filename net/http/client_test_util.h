#ifndef GROVE_NET_HTTP_CLIENT_TEST_UTIL_H_
#define GROVE_NET_HTTP_CLIENT_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"
#include "grove/net/http/client.h"
#include "grove/net/testing/memory_listener.h"

namespace grove::http {

// A server whose connections are played by a function of the test, each in a greenlet:
// connection number 0, 1, ...
class PlayedServer {
 public:
  using Play = std::function<void(int number, net::MemoryStream& stream)>;

  explicit PlayedServer(Play play,
                        net::MemoryStreamOptions options = {.capacity = 1 << 20})
      : play_(std::move(play)), listener_(options) {
    acceptor_ = Spawn([this] {
      for (;;) {
        absl::StatusOr<net::MemoryStream> stream = listener_.Accept();
        if (!stream.ok()) return;
        connections_.push_back(Spawn([this, number = number_++,
                                      s = std::make_shared<net::MemoryStream>(
                                          *std::move(stream))] { play_(number, *s); }));
      }
    });
  }
  ~PlayedServer() {
    Shield shield;
    acceptor_.Kill();
    for (Greenlet<>& g : connections_) g.Kill();
  }

  int connections() const { return number_; }
  const std::vector<ClientEndpoint>& dialed() const { return dialed_; }

  // As a client's, which then reaches this server, whatever it dials.
  ClientDialer dialer() {
    return [this](const ClientEndpoint& endpoint,
                  Deadline) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
      dialed_.push_back(endpoint);
      absl::StatusOr<net::MemoryStream> stream = listener_.Connect();
      if (!stream.ok()) return stream.status();
      return std::make_unique<net::MemoryStream>(*std::move(stream));
    };
  }
  HttpClientOptions options() {
    HttpClientOptions options;
    options.dial = dialer();
    options.user_agent = "";
    options.decompress = false;
    return options;
  }

 private:
  const Play play_;
  net::MemoryListener listener_;
  int number_ = 0;
  std::vector<ClientEndpoint> dialed_;
  std::vector<Greenlet<>> connections_;
  Greenlet<> acceptor_;
};

// What comes until the text ends like this; what there was, if the stream ends first.
inline std::string ReadThrough(net::Stream& stream, absl::string_view end) {
  std::string text;
  char c;
  while (!absl::EndsWith(text, end)) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(&c, 1));
    if (!n.ok() || *n == 0) break;
    text.push_back(c);
  }
  return text;
}
inline std::string ReadRequestHead(net::Stream& stream) {
  return ReadThrough(stream, "\r\n\r\n");
}

inline std::string Answer(absl::string_view body, absl::string_view fields = "",
                          absl::string_view status = "200 OK") {
  return absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Length: ", body.size(), "\r\n",
                      fields, "\r\n", body);
}

// Answers requests without bodies, until the client leaves.
inline PlayedServer::Play Always(std::string answer,
                                 std::vector<std::string>* heads = nullptr) {
  return [=](int, net::MemoryStream& stream) {
    for (;;) {
      const std::string head = ReadRequestHead(stream);
      if (!absl::EndsWith(head, "\r\n\r\n")) return;
      if (heads != nullptr) heads->push_back(head);
      if (!stream.Write(answer).ok()) return;
    }
  };
}

// "200 body" or the error.
inline std::string Outcome(absl::StatusOr<ClientResponse> response) {
  if (!response.ok()) return response.status().ToString();
  const absl::StatusOr<std::string> body = response->ReadAll(1 << 24);
  return absl::StrCat(response->status(), " ",
                      body.ok() ? *body : body.status().ToString());
}

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CLIENT_TEST_UTIL_H_
