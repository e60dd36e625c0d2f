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
  // Nobody can say anything any more; what was said is still read.
  void Close() {
    Say("", "the server ends");
    lines_.Close();
  }
  Broadcast<Line>& lines() { return lines_; }

 private:
  Broadcast<Line> lines_;
  std::set<std::string> names_;
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

// A line, with nothing in it that a terminal would take for a command; none at the end.
std::optional<std::string> ReadLine(StreamReader& reader) {
  const absl::StatusOr<std::optional<absl::string_view>> line = reader.ReadLine(kMaxLine);
  if (!line.ok() || !line->has_value()) return std::nullopt;
  std::string text(**line);
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = ' ';
  }
  return text;
}

void Chat(TcpStream& client, Room& room) {
  StreamReader reader(client, kMaxLine + 2);
  if (!client.Write("Your name?\n").ok()) return;
  const std::optional<std::string> name = ReadLine(reader);
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
             "[--backlog=100] [--stall=30s] [--grace=5s]");
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
