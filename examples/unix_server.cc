// A service on a Unix socket: who connects is told who he is, and may send descriptors,
// of which the server answers what files they are.
//
//   bazel run //examples:unix_server -- --listen=/tmp/grove.sock
//   bazel run //examples:unix_client -- --to=/tmp/grove.sock /etc/hostname
//   /etc/os-release
//
// Look at Serve(): the kernel says who is at the other end (peer_credentials()), which no
// client can forge, and descriptors arrive with bytes (ReceiveDescriptors()). So a
// process that may open a file can have one that may not work on it.
//
// The socket's file has --mode, whatever the umask; one that a dead server left is
// replaced, one of a living server or of another kind never. --allow_uid closes the door
// to everybody else. SIGINT and SIGTERM end it cleanly, and remove the file.

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/net/server.h"
#include "grove/net/unix.h"

ABSL_FLAG(std::string, listen, "/tmp/grove.sock",
          "path to listen at, or @NAME for an abstract one");
ABSL_FLAG(std::string, mode, "0600",
          "of the socket's file: who may write to it may connect");
ABSL_FLAG(int, allow_uid, -1, "the only user that is served; -1 serves all");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long open connections may go on after SIGINT or SIGTERM");

namespace {

using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::PeerCredentials;
using grove::net::StreamServer;
using grove::net::UnixAddress;
using grove::net::UnixListener;
using grove::net::UnixStream;

// So many come with one message; more end the connection, and none is left open.
constexpr size_t kMaxDescriptors = 16;

std::string Describe(int fd) {
  struct stat file;
  if (fstat(fd, &file) != 0) return "what cannot be looked at";
  const char* kind = S_ISREG(file.st_mode)    ? "a file"
                     : S_ISDIR(file.st_mode)  ? "a folder"
                     : S_ISFIFO(file.st_mode) ? "a pipe"
                     : S_ISSOCK(file.st_mode) ? "a socket"
                                              : "a device";
  return absl::StrCat(kind, " of ", file.st_size, " bytes");
}

constexpr int kAll = -1;

absl::Status Serve(UnixStream& client) {
  const absl::StatusOr<PeerCredentials> who = client.peer_credentials();
  if (!who.ok()) return who.status();
  if (const int uid = absl::GetFlag(FLAGS_allow_uid);
      uid != kAll && who->uid != static_cast<uid_t>(uid)) {
    return client.Write("you may not\n");
  }
  if (absl::Status s = client.Write(
          absl::StrCat("hello, user ", who->uid, " of process ", who->pid, "\n"));
      !s.ok()) {
    return s;
  }
  std::vector<char> buffer(4096);
  for (;;) {
    absl::StatusOr<UnixStream::Received> got =
        client.ReceiveDescriptors(absl::MakeSpan(buffer), kMaxDescriptors);
    if (!got.ok()) return got.status();
    if (got->bytes == 0) return absl::OkStatus();
    std::string answer;
    for (const int fd : got->fds) {
      absl::StrAppend(&answer, Describe(fd), "\n");
      close(fd);  // what came is ours
    }
    if (got->fds.empty()) answer = std::string(buffer.data(), got->bytes);
    if (absl::Status s = client.Write(answer); !s.ok()) return s;
  }
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Says of files, on a Unix socket, what they are.\n"
             "  unix_server [--listen=/tmp/grove.sock] [--mode=0600] [--allow_uid=-1] "
             "[--grace=5s]");
  const absl::StatusOr<UnixAddress> listen =
      UnixAddress::Parse(absl::GetFlag(FLAGS_listen));
  if (!listen.ok()) Refuse(absl::StrCat("--listen: ", listen.status().message()));
  const std::string digits = absl::GetFlag(FLAGS_mode);
  unsigned mode = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), mode, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || mode > 0777) {
    Refuse("--mode: an octal number up to 0777 is wanted");
  }
  if (absl::GetFlag(FLAGS_allow_uid) < kAll) Refuse("--allow_uid: there is none below 0");

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  absl::StatusOr<UnixListener> listener = UnixListener::Listen(*listen, {.mode = mode});
  if (!listener.ok()) Refuse(std::string(listener.status().message()));

  StreamServer server(*std::move(listener), [](UnixStream& client) {
    if (absl::Status s = Serve(client); !s.ok()) {
      fprintf(stderr, "unix_server: %s\n", s.ToString().c_str());
    }
  });
  server.Start();
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "unix",
                        [&](grove::Deadline d) { server.Stop(d.Remaining()); });
  printf("listening on %s\n", server.description().c_str());
  fflush(stdout);
  return shutdown.Run();
}
