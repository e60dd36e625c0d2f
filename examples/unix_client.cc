// Opens files, sends their descriptors over a Unix socket, and prints what the server
// says of them.
//
//   bazel run //examples:unix_client -- --to=/tmp/grove.sock /etc/hostname
//   /etc/os-release
//
// Look at SendDescriptors(): the byte that it goes with is what makes it arrive in order.
// All of it has one deadline. The exit status is 0 only if each file was answered.

#include <stdio.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/os/file.h"
#include "grove/net/buffered_stream.h"
#include "grove/net/unix.h"

ABSL_FLAG(std::string, to, "/tmp/grove.sock", "path of the server, or @NAME");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(5), "how long all of it may take");

namespace {

using grove::Deadline;
using grove::File;
using grove::examples::ParseWords;
using grove::examples::Refuse;
using grove::net::StreamReader;
using grove::net::UnixAddress;
using grove::net::UnixStream;

absl::StatusOr<std::string> ReadLine(StreamReader& reader, Deadline deadline) {
  const absl::StatusOr<std::optional<absl::string_view>> line =
      reader.ReadLine(/*limit=*/4096, deadline);
  if (!line.ok()) return line.status();
  if (!line->has_value()) return absl::OutOfRangeError("the server ends the connection");
  return std::string(**line);
}

absl::Status Ask(const UnixAddress& server, const std::vector<std::string>& paths) {
  const Deadline deadline = absl::GetFlag(FLAGS_timeout);
  absl::StatusOr<UnixStream> stream = UnixStream::Connect(server, deadline);
  if (!stream.ok()) return stream.status();
  StreamReader reader(*stream);
  const absl::StatusOr<std::string> greeting = ReadLine(reader, deadline);
  if (!greeting.ok()) return greeting.status();
  printf("%s\n", greeting->c_str());
  for (const std::string& path : paths) {
    const absl::StatusOr<File> file = File::Open(path);
    if (!file.ok()) return file.status();
    if (absl::Status s = stream->SendDescriptors("f", {file->fd()}, deadline); !s.ok()) {
      return s;
    }
    const absl::StatusOr<std::string> answer = ReadLine(reader, deadline);
    if (!answer.ok()) return answer.status();
    printf("%s: %s\n", path.c_str(), answer->c_str());
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> paths =
      ParseWords(argc, argv,
                 "Sends files over a Unix socket, and prints what the server says.\n"
                 "  unix_client [--to=/tmp/grove.sock] [--timeout=5s] FILE...");
  const absl::StatusOr<UnixAddress> server = UnixAddress::Parse(absl::GetFlag(FLAGS_to));
  if (!server.ok()) Refuse(absl::StrCat("--to: ", server.status().message()));
  if (absl::Status s = Ask(*server, paths); !s.ok()) {
    fprintf(stderr, "unix_client: %s\n", s.ToString().c_str());
    return 1;
  }
  return 0;
}
