// Sends a file to whoever connects, and ends the connection: `nc host port > file`.
//
//   bazel run //examples:sendfile_server -- --file=/usr/lib/os-release
//   curl --http0.9 -o copy http://127.0.0.1:7003/ ; cmp copy /usr/lib/os-release
//
// Look at Send(): what is in the page cache goes into the socket by sendfile(2), without
// passing through this process; what has to be read from a disk is read on a thread of
// the pool "files". Either way other clients go on. A slow one holds up nobody, and has
// no buffer here; one that takes nothing at all for --stall is cut.
//
// SIGINT and SIGTERM end it cleanly: transfers may finish within --grace, and those that
// do not are reset, so that nobody takes half a file for a whole one.

#include <stdio.h>

#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/listen.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/os/file.h"
#include "grove/green/os/file_system.h"
#include "grove/green/shutdown.h"
#include "grove/net/send_file.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7003", "address to listen at");
ABSL_FLAG(std::string, file, "", "the file to send");
ABSL_FLAG(absl::Duration, stall, absl::Minutes(1),
          "a client that takes nothing for so long is cut");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(10),
          "how long transfers may go on after SIGINT or SIGTERM");

namespace {

using grove::File;
using grove::examples::ListenAt;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::StopReport;
using grove::net::StreamServer;
using grove::net::TcpStream;

// Resets the connection unless all was sent, also if the handler is killed.
struct Transfer {
  TcpStream& client;
  bool whole = false;
  ~Transfer() {
    if (!whole) client.Abort();
  }
};

void Send(TcpStream& client, const std::string& path) {
  Transfer transfer{client};
  // Opened anew for each: who replaces the file is served the new one from then on.
  const absl::StatusOr<File> file = File::Open(path);
  absl::Status status = file.status();
  if (file.ok()) {
    status = grove::net::SendFile(client, *file, 0, grove::net::kToTheEnd).status();
  }
  if (status.ok()) status = client.ShutdownWrite();
  // What the client says is of no interest, but closing with it unread would be a reset,
  // by which the end of the file might be lost. So: until it closes, too.
  char buffer[4096];
  absl::StatusOr<size_t> n = 1;
  while (status.ok() && n.ok() && *n > 0) n = client.Read(absl::MakeSpan(buffer));
  if (!status.ok()) fprintf(stderr, "sendfile_server: %s\n", status.ToString().c_str());
  transfer.whole = status.ok();
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Sends a file to whoever connects.\n"
             "  sendfile_server --file=FILE [--listen=127.0.0.1:7003] [--stall=1m] "
             "[--grace=10s]");
  const std::string path = absl::GetFlag(FLAGS_file);
  if (const auto info = grove::GetFileInfo(path); !info.ok()) {
    Refuse(absl::StrCat("--file: ", info.status().message()));
  } else if (info->kind != grove::FileKind::kRegular) {
    Refuse(absl::StrCat("--file: ", path, " is no file"));
  }

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  StreamServer server(ListenAt(absl::GetFlag(FLAGS_listen)),
                      [&](TcpStream& client) { Send(client, path); },
                      {.idle_limit = absl::GetFlag(FLAGS_stall)});
  server.Start();
  StopReport report;
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "sendfile",
                        [&](grove::Deadline d) { report = server.Stop(d.Remaining()); });
  printf("listening on %s\n", server.description().c_str());
  fflush(stdout);

  const int exit_code = shutdown.Run();
  printf("served %llu clients; %zu were cut at the end, %llu took nothing for too long\n",
         static_cast<unsigned long long>(server.accepted()), report.cut,
         static_cast<unsigned long long>(server.statistics().cut_idle));
  return exit_code;
}
