// Passes on what is published on a Redis channel to everybody who is connected.
//
//   redis-server --port 6379
//   bazel run //examples:redis_fanout -- --redis_port=6379 --channel=news
//   nc 127.0.0.1 7006            (as often as you like)
//   redis-cli publish news hello
//
// hiredis knows nothing of greenlets; after PatchAll() its blocking calls stop the
// greenlet that makes them, and the distribution's own library is used as it is.
//
// Look at Subscribe(): one subscription, by plain blocking code, feeds a Broadcast, from
// which each client's greenlet reads. So Redis has one connection for any number of
// clients. One that is too slow misses messages (--backlog), and holds up nobody. When
// Redis goes, clients stay, and it is connected to again, a little later each time.

#include <hiredis/hiredis.h>
#include <stdio.h>

#include <algorithm>
#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/examples/listen.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/shutdown.h"
#include "grove/green/sleep.h"
#include "grove/green/task_group.h"
#include "grove/green/timeout.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/patch/patch.h"
#include "grove/sync/broadcast.h"

ABSL_FLAG(std::string, redis_host, "127.0.0.1", "where Redis is");
ABSL_FLAG(int, redis_port, 6379, "its port");
ABSL_FLAG(std::string, channel, "news", "the channel to subscribe to");
ABSL_FLAG(std::string, listen, "127.0.0.1:7006", "address to listen at");
ABSL_FLAG(int, backlog, 1000, "messages that a slow client may be behind");
ABSL_FLAG(absl::Duration, stall, absl::Seconds(30),
          "who takes nothing of what comes for so long is cut off");
ABSL_FLAG(absl::Duration, max_delay, absl::Seconds(5),
          "how long to wait, at most, before connecting again");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long the end may take after SIGINT or SIGTERM");

namespace {

using grove::Broadcast;
using grove::BroadcastSubscription;
using grove::BroadcastWhenFull;
using grove::examples::ListenAt;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::StreamServer;
using grove::net::TcpStream;

struct Free {
  void operator()(redisContext* c) const { redisFree(c); }
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using Context = std::unique_ptr<redisContext, Free>;
using Reply = std::unique_ptr<redisReply, Free>;

// The next thing that Redis says; null if the connection has failed.
Reply NextReply(redisContext* c) {
  void* reply = nullptr;
  redisGetReply(c, &reply);
  return Reply(static_cast<redisReply*>(reply));
}

// Until the connection fails; says why.
std::string Subscribe(Broadcast<std::string>& messages, absl::Duration& delay) {
  const Context c(redisConnect(absl::GetFlag(FLAGS_redis_host).c_str(),
                               absl::GetFlag(FLAGS_redis_port)));
  if (!c) return "out of memory";
  if (c->err != 0) return c->errstr;
  // A server whose machine has gone says nothing: the kernel asks, and gives up.
  redisEnableKeepAlive(c.get());
  redisAppendCommand(c.get(), "SUBSCRIBE %s", absl::GetFlag(FLAGS_channel).c_str());
  while (const Reply reply = NextReply(c.get())) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
      return reply->type == REDIS_REPLY_ERROR ? reply->str
                                              : "what Redis says is no message";
    }
    const std::string kind(reply->element[0]->str, reply->element[0]->len);
    if (kind == "subscribe") {
      delay = absl::ZeroDuration();
      fprintf(stderr, "redis_fanout: subscribed\n");
    } else if (kind == "message") {
      messages.Send(std::string(reply->element[2]->str, reply->element[2]->len))
          .IgnoreError();
    }
  }
  return c->errstr;
}

void SubscribeForEver(Broadcast<std::string>& messages) {
  absl::Duration delay;
  for (;;) {
    const std::string why = Subscribe(messages, delay);
    // A kill ends the call of hiredis, and is thrown here.
    grove::CheckInterrupt();
    delay = std::min(std::max(delay * 2, absl::Milliseconds(50)),
                     absl::GetFlag(FLAGS_max_delay));
    fprintf(stderr, "redis_fanout: Redis: %s; again in %s\n", why.c_str(),
            absl::FormatDuration(delay).c_str());
    grove::Sleep(delay);
  }
}

void Feed(TcpStream& client, Broadcast<std::string>& messages) {
  BroadcastSubscription<std::string> mine(messages);
  // Whichever ends first ends the other: the program, or the client, who has nothing to
  // say, but is read from so that his end is noticed.
  grove::TaskGroup both({.name = "client"});
  both.Spawn([&] {
    for (absl::StatusOr<std::string> m = mine.Receive(); m.ok(); m = mine.Receive()) {
      if (!client.Write(*m + "\n", absl::GetFlag(FLAGS_stall)).ok()) break;
    }
    both.Cancel();
  });
  both.Spawn([&] {
    char buffer[256];
    for (absl::StatusOr<size_t> n = 1; n.ok() && *n > 0;) {
      n = client.Read(absl::MakeSpan(buffer));
    }
    both.Cancel();
  });
  both.Join().IgnoreError();
}

}  // namespace

int main(int argc, char** argv) {
  grove::patch::PatchAll();  // first, before there are other threads
  ParseFlags(
      argc, argv,
      "Passes on what is published on a Redis channel.\n"
      "  redis_fanout [--redis_host=127.0.0.1] [--redis_port=6379] [--channel=news] "
      "[--listen=127.0.0.1:7006] [--backlog=1000] [--stall=30s] [--max_delay=5s] "
      "[--grace=5s]");
  const int redis_port = absl::GetFlag(FLAGS_redis_port);
  if (redis_port < 1 || redis_port > 65535) Refuse("--redis_port: not from 1 to 65535");
  const int backlog = absl::GetFlag(FLAGS_backlog);
  if (backlog < 1) Refuse("--backlog: at least one is needed");

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  Broadcast<std::string> messages(static_cast<size_t>(backlog),
                                  BroadcastWhenFull::kDropOldest);
  StreamServer server(ListenAt(absl::GetFlag(FLAGS_listen)),
                      [&](TcpStream& client) { Feed(client, messages); },
                      {.on_drain = [](grove::net::Stream&) {}, .name = "fanout"});
  server.Start();
  const grove::Greenlet<> subscriber =
      grove::Spawn({.name = "subscriber"}, [&] { SubscribeForEver(messages); });
  const grove::ShutdownHook stop =
      grove::OnShutdown(grove::ShutdownPhase::kStopAccepting, "redis",
                        [&](grove::Deadline) { subscriber.Kill(); });
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "fanout", [&](grove::Deadline d) {
        messages.Close();  // what has come is still passed on
        server.Stop(d.Remaining());
      });
  printf("listening on %s\n", server.description().c_str());
  fflush(stdout);
  return shutdown.Run();
}
