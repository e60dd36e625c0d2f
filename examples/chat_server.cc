// A chat by lines, for telnet and the like: who connects says a name, and then everybody
// reads what everybody writes.
//
//   bazel run //examples:chat_server -- --listen=127.0.0.1:7005
//   nc 127.0.0.1 7005        (twice)
//
// Look at Chat(): a reader and a writer, each a greenlet of its own in plain blocking
// code. The room is a Broadcast, which never waits for anybody: who reads too slowly
// misses the oldest lines, and is told how many, while the others go on.
//
// SIGINT and SIGTERM end it cleanly: everybody is told, and gets what was said before.

#include <stdio.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/listen.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/green/task_group.h"
#include "grove/green/timeout.h"
#include "grove/net/buffered_stream.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/sync/broadcast.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7005", "address to listen at");
ABSL_FLAG(int, max_clients, 10'000, "more wait until one leaves");
ABSL_FLAG(int, backlog, 100, "lines that a slow reader may be behind");
ABSL_FLAG(absl::Duration, name_timeout, absl::Minutes(1),
          "how long a client may take to say its name");
ABSL_FLAG(absl::Duration, stall, absl::Seconds(30),
          "who takes nothing of what is said for so long is cut off");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long the end may take after SIGINT or SIGTERM");

namespace {

using grove::Broadcast;
using grove::BroadcastSubscription;
using grove::BroadcastWhenFull;
using grove::examples::ListenAt;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::StreamReader;
using grove::net::StreamServer;
using grove::net::TcpStream;

constexpr size_t kMaxLine = 1000;

struct Line {
  std::string from;  // empty: the server
  std::string text;
};

class Room {
 public:
  explicit Room(size_t backlog) : lines_(backlog, BroadcastWhenFull::kDropOldest) {}

  void Say(std::string from, std::string text) {
    lines_.Send({std::move(from), std::move(text)}).IgnoreError();  // closed: too late
  }
  bool Enter(const std::string& name) {
    if (!names_.insert(name).second) return false;
    Say("", absl::StrCat(name, " is here"));
    return true;
  }
  void Leave(const std::string& name) {
    names_.erase(name);
    Say("", absl::StrCat(name, " has left"));
  }
  // Nobody can say anything any more; what was said is still read. Who has not come in
  // has nothing to wait for.
  void Close() {
    Say("", "the server ends");
    lines_.Close();
    for (TcpStream* client : at_the_door_) client->ShutdownRead().IgnoreError();
  }
  // While a client says its name.
  class Door {
   public:
    Door(Room& room, TcpStream& client) : room_(room), client_(client) {
      room_.at_the_door_.insert(&client);
    }
    ~Door() { room_.at_the_door_.erase(&client_); }

   private:
    Room& room_;
    TcpStream& client_;
  };
  Broadcast<Line>& lines() { return lines_; }

 private:
  Broadcast<Line> lines_;
  std::set<std::string> names_;
  std::set<TcpStream*> at_the_door_;
};

// What others say, until the room is closed or the client is gone.
absl::Status Show(BroadcastSubscription<Line>& lines, TcpStream& client,
                  const std::string& name) {
  uint64_t told = 0;
  for (;;) {
    const absl::StatusOr<Line> line = lines.Receive();
    if (!line.ok()) return absl::OkStatus();  // the room is closed
    std::string text;
    if (const uint64_t missed = lines.missed(); missed > told) {
      text = absl::StrCat("* you have missed ", missed - told, " lines\n");
      told = missed;
    }
    if (line->from != name) {
      absl::StrAppend(&text, line->from.empty() ? "* " : line->from + ": ", line->text,
                      "\n");
    }
    if (absl::Status s = client.Write(text, absl::GetFlag(FLAGS_stall)); !s.ok())
      return s;
  }
}

// A line, with nothing in it that a terminal would take for a command: neither those of
// ASCII nor, in UTF-8 or without, U+0080 to U+009F. None at the end.
std::optional<std::string> ReadLine(StreamReader& reader, grove::Deadline deadline = {}) {
  const absl::StatusOr<std::optional<absl::string_view>> line =
      reader.ReadLine(kMaxLine, deadline);
  if (!line.ok() || !line->has_value()) return std::nullopt;
  std::string text(**line);
  size_t follow = 0;  // how many bytes of a character of UTF-8 are still to come
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c >= 0x80 && c < 0xa0 && (follow == 0 || text[i - 1] == '\xc2');
    if (follow > 0 && c >= 0x80 && c < 0xc0) {
      --follow;
    } else {
      follow = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 0;
    }
    if (absl::ascii_iscntrl(c) || c1) text[i] = ' ';
  }
  return text;
}

void Chat(TcpStream& client, Room& room) {
  StreamReader reader(client, kMaxLine + 2);
  if (!client.Write("Your name?\n").ok()) return;
  std::optional<std::string> name;
  {
    const Room::Door door(room, client);
    name = ReadLine(reader, absl::GetFlag(FLAGS_name_timeout));
  }
  if (!name) return;
  if (name->empty() || name->find(' ') != name->npos || !room.Enter(*name)) {
    client.Write("* that is no name, or somebody has it\n").IgnoreError();
    return;
  }
  // However it is left: also by an exception, which is what a kill is.
  struct Leaving {
    Room& room;
    const std::string& name;
    ~Leaving() {
      const grove::Shield shield;
      room.Leave(name);
    }
  } const leaving{room, *name};
  BroadcastSubscription<Line> lines(room.lines());
  // Whichever of both ends first ends the other.
  grove::TaskGroup both({.name = "chat"});
  both.Spawn([&] {
    Show(lines, client, *name).IgnoreError();
    both.Cancel();
  });
  both.Spawn([&] {
    while (std::optional<std::string> text = ReadLine(reader)) {
      room.Say(*name, *std::move(text));
    }
    both.Cancel();
  });
  both.Join().IgnoreError();
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "A chat by lines.\n"
             "  chat_server [--listen=127.0.0.1:7005] [--max_clients=10000] "
             "[--backlog=100] [--name_timeout=1m] [--stall=30s] [--grace=5s]");
  const int max_clients = absl::GetFlag(FLAGS_max_clients);
  const int backlog = absl::GetFlag(FLAGS_backlog);
  if (max_clients < 1) Refuse("--max_clients: at least one is needed");
  if (backlog < 1) Refuse("--backlog: at least one is needed");

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  Room room(static_cast<size_t>(backlog));
  StreamServer server(ListenAt(absl::GetFlag(FLAGS_listen)),
                      [&](TcpStream& client) { Chat(client, room); },
                      {.max_connections = static_cast<size_t>(max_clients),
                       // The closed room ends them: they still show what was said.
                       .on_drain = [](grove::net::Stream&) {},
                       .name = "chat"});
  server.Start();
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "chat", [&](grove::Deadline d) {
        room.Close();
        server.Stop(d.Remaining());
      });
  printf("listening on %s\n", server.description().c_str());
  fflush(stdout);
  return shutdown.Run();
}
