// A chat in the browser, over WebSocket: rooms, nicknames, and a page.
//
//   bazel run //examples:websocket_chat -- --port=8080
//   open http://127.0.0.1:8080/ twice
//
// Several instances share their rooms by a Redis server: --redis=127.0.0.1:6379.
// Everybody has a queue of 64 lines; who is slower than the room misses the oldest, and
// is told. SIGINT and SIGTERM close all with 1001.
//
// Look at Room, a broadcast channel that drops the oldest lines of who is slow, and at
// the two greenlets that each connection has.

#include <stdio.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/flags/flag.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "grove/examples/chat_page.h"
#include "grove/examples/chat_redis.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/shutdown.h"
#include "grove/green/task_group.h"
#include "grove/green/timeout.h"
#include "grove/net/http/router.h"
#include "grove/net/http/server.h"
#include "grove/net/http/websocket.h"
#include "grove/net/tcp.h"
#include "grove/sync/broadcast.h"
#include "grove/sync/rate_limiter.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "IP address to listen at");
ABSL_FLAG(int, port, 8080, "port to listen at; 0 takes a free one");
ABSL_FLAG(
    std::string, redis, "",
    "host:port of a Redis server that instances share their rooms by; none if empty");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long connections may go on after SIGINT or SIGTERM");

namespace {

using grove::examples::ChatRedis;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::http::Request;
using grove::http::ResponseWriter;
using grove::http::WebSocket;
using grove::http::WebSocketMessage;

constexpr size_t kMaxLine = 2000;
constexpr size_t kMaxName = 64;
constexpr size_t kQueue = 64;

// One text for all who get it.
using Line = std::shared_ptr<const std::string>;
using Room = grove::Broadcast<Line>;

// The rooms that somebody is in.
class Rooms {
 public:
  // A place in a room, which ends with the last one.
  class Place {
   public:
    Place(Rooms* rooms, std::string name) : rooms_(*rooms), name_(std::move(name)) {
      std::unique_ptr<Room>& room = rooms_.rooms_[name_];
      if (!room) {
        room = std::make_unique<Room>(kQueue, grove::BroadcastWhenFull::kDropOldest);
      }
      subscription_.emplace(*room);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
      subscription_.reset();
      const auto it = rooms_.rooms_.find(name_);
      if (it->second->subscribers() == 0) rooms_.rooms_.erase(it);
    }
    grove::BroadcastSubscription<Line>& lines() { return *subscription_; }

   private:
    Rooms& rooms_;
    const std::string name_;
    std::optional<grove::BroadcastSubscription<Line>> subscription_;
  };

  void Deliver(absl::string_view room, absl::string_view line) {
    const auto it = rooms_.find(room);
    if (it == rooms_.end()) return;
    // Does not block: the oldest is dropped.
    it->second->Send(std::make_shared<const std::string>(line)).IgnoreError();
  }

 private:
  std::map<std::string, std::unique_ptr<Room>, std::less<>> rooms_;
};

// The value of "name=" in a query, decoded: 1 to 64 bytes without control characters.
std::optional<std::string> Parameter(const Request& request, absl::string_view name) {
  for (absl::string_view part : absl::StrSplit(request.query(), '&')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    if (pair.first != name) continue;
    std::optional<std::string> value = grove::http::DecodePercent(pair.second);
    if (!value || value->empty() || value->size() > kMaxName) return std::nullopt;
    for (unsigned char c : *value) {
      if (absl::ascii_iscntrl(c)) return std::nullopt;
    }
    return value;
  }
  return std::nullopt;
}

class Chat {
 public:
  explicit Chat(const std::string& redis) {
    if (redis.empty()) return;
    redis_.emplace(redis, [this](absl::string_view room, absl::string_view line) {
      rooms_.Deliver(room, line);
    });
    if (!redis_->WaitUntilSubscribed(absl::Seconds(5))) {
      fprintf(stderr, "websocket_chat: no subscription at %s yet\n", redis.c_str());
    }
  }

  // A handler: somebody enters a room, and talks until he leaves.
  void Enter(Request& request, ResponseWriter& response) {
    const std::optional<std::string> name = Parameter(request, "name");
    const std::optional<std::string> room = Parameter(request, "room");
    if (!name || !room) {
      response.Send(400, "text/plain", "?room= and &name=, of 1 to 64 bytes\n")
          .IgnoreError();
      return;
    }
    absl::StatusOr<WebSocket> ws = grove::http::AcceptWebSocket(
        request, response, {.max_message = kMaxLine, .deflate = {.enabled = true}});
    if (!ws.ok()) return;
    {
      Rooms::Place place(&rooms_, *room);
      // Ends with this scope, before the WebSocket does.
      grove::TaskGroup group;
      group.Spawn([&] { Show(place, *ws); });
      Say(*room, absl::StrCat("* ", *name, " has come"));
      // However it is left: also by an exception, which is what a kill is.
      const absl::Cleanup leaving = [&] {
        const grove::Shield shield;
        Say(*room, absl::StrCat("* ", *name, " has left"));
      };
      Listen(*room, *name, *ws);
    }
    ws->Close().IgnoreError();
  }

 private:
  // What is said in the room goes out.
  static void Show(Rooms::Place& place, WebSocket& ws) {
    uint64_t missed = 0;
    for (;;) {
      const absl::StatusOr<Line> line = place.lines().Receive();
      if (!line.ok()) return;
      const uint64_t now = place.lines().missed();
      if (now != std::exchange(missed, now) &&
          !ws.SendText(absl::StrCat("* lines were missed: ", now)).ok()) {
        return;
      }
      const absl::Status sent = ws.SendText(**line);
      // A name that is not UTF-8, or another instance's line: not shown.
      if (!sent.ok() && !absl::IsInvalidArgument(sent)) return;
    }
  }

  // What he says goes to the room.
  void Listen(const std::string& room, const std::string& name, WebSocket& ws) {
    // Faster ones wait, and so does their TCP.
    grove::RateLimiter limiter({.tokens = 10, .per = absl::Seconds(1), .burst = 20});
    for (;;) {
      const absl::StatusOr<std::optional<WebSocketMessage>> m = ws.Receive();
      if (!m.ok() || !m->has_value()) return;
      if ((*m)->type != WebSocketMessage::Type::kText) {
        ws.Close(1003, "texts only").IgnoreError();
        return;
      }
      limiter.Acquire();
      Say(room, absl::StrCat(name, ": ", (*m)->data));
    }
  }

  void Say(const std::string& room, const std::string& line) {
    if (!redis_) {
      rooms_.Deliver(room, line);
    } else if (!redis_->Publish(room, line)) {
      rooms_.Deliver(room, "* the other instances cannot be reached");
    }
  }

  Rooms rooms_;
  std::optional<ChatRedis> redis_;  // delivers to rooms_
};

void ShowPage(Request&, ResponseWriter& response) {
  response.headers().Set("Content-Security-Policy",
                         "default-src 'none'; script-src 'unsafe-inline'; style-src "
                         "'unsafe-inline'; connect-src 'self'");
  response.Send(200, "text/html; charset=utf-8", grove::examples::kChatPage)
      .IgnoreError();
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "A chat over WebSocket.\n"
             "  websocket_chat [--host=127.0.0.1] [--port=8080] [--redis=HOST:PORT] "
             "[--grace=5s]");
  const int port = absl::GetFlag(FLAGS_port);
  if (port < 0 || port > 65535)
    Refuse(absl::StrCat("--port=", port, ": not from 0 to 65535"));
  const absl::StatusOr<grove::net::Address> address =
      grove::net::Address::FromIp(absl::GetFlag(FLAGS_host), static_cast<uint16_t>(port));
  if (!address.ok()) Refuse(absl::StrCat("--host: ", address.status().message()));

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  absl::StatusOr<grove::net::TcpListener> listener =
      grove::net::TcpListener::Listen(*address);
  if (!listener.ok()) Refuse(std::string(listener.status().message()));
  const std::string where = listener->address().ToString();

  grove::Greenlet<> serving = grove::Spawn([&] {
    Chat chat(absl::GetFlag(FLAGS_redis));
    grove::http::Router router;
    router.Handle("GET", "/", &ShowPage);
    router.Handle("GET", "/chat", [&](Request& request, ResponseWriter& response) {
      chat.Enter(request, response);
    });
    grove::http::HttpServer server(*std::move(listener), router,
                                   {.max_connections = 10'000});
    const grove::ShutdownHook drain =
        grove::OnShutdown(grove::ShutdownPhase::kDrain, "chat",
                          [&](grove::Deadline d) { server.Stop(d.Remaining()); });
    server.Start();
    printf("listening on %s\n", where.c_str());
    fflush(stdout);
    if (absl::Status s = server.Serve(); !s.ok()) {
      fprintf(stderr, "websocket_chat: %s\n", s.ToString().c_str());
      grove::RequestShutdown(1);
    }
    server.Stop();
  });
  const int exit_code = shutdown.Run();
  serving.Join();
  return exit_code;
}
