// Sends each of its words as a datagram, all at once, and prints the answers.
//
//   bazel run //examples:udp_client -- --to=127.0.0.1:7002 hello world
//
// Look at Ask(): the network may lose a datagram without a word, so a question is asked
// again when --patience has passed without an answer, up to --tries times. Each has a
// socket of its own, so that an answer cannot be taken for that of another question.
//
// The exit status is 0 only if all were answered.

#include <stdio.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/net/udp.h"

ABSL_FLAG(std::string, to, "127.0.0.1:7002", "address of the server");
ABSL_FLAG(absl::Duration, patience, absl::Seconds(1), "how long to wait for an answer");
ABSL_FLAG(int, tries, 3, "how often to ask");

namespace {

using grove::Greenlet;
using grove::Spawn;
using grove::examples::ParseWords;
using grove::examples::Refuse;
using grove::net::Address;
using grove::net::UdpSocket;

absl::StatusOr<std::string> Ask(const Address& server, const std::string& question) {
  // Connected: it receives from this peer only, and learns if nobody is there.
  absl::StatusOr<UdpSocket> socket = UdpSocket::Connect(server);
  if (!socket.ok()) return std::move(socket).status();
  std::vector<char> buffer(65'507);
  absl::Status failed;
  for (int i = 0; i < absl::GetFlag(FLAGS_tries); ++i) {
    if (absl::Status s = socket->Send(question); !s.ok()) return s;
    const absl::StatusOr<UdpSocket::Datagram> answer =
        socket->ReceiveFrom(absl::MakeSpan(buffer), absl::GetFlag(FLAGS_patience));
    if (answer.ok()) return std::string(buffer.data(), answer->bytes);
    failed = answer.status();
    if (!absl::IsDeadlineExceeded(failed)) return failed;
  }
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words = ParseWords(
      argc, argv,
      "Sends words over UDP, and prints the answers.\n"
      "  udp_client [--to=127.0.0.1:7002] [--patience=1s] [--tries=3] WORD...");
  const absl::StatusOr<Address> server = Address::Parse(absl::GetFlag(FLAGS_to));
  if (!server.ok()) Refuse(absl::StrCat("--to: ", server.status().message()));
  if (absl::GetFlag(FLAGS_tries) < 1) Refuse("--tries: at least one is needed");
  if (words.empty()) Refuse("no words to send (see --help)");

  std::vector<Greenlet<absl::StatusOr<std::string>>> answers;
  for (const std::string& word : words) {
    answers.push_back(Spawn([&] { return Ask(*server, word); }));
  }
  bool all = true;
  for (size_t i = 0; i < words.size(); ++i) {
    const absl::StatusOr<std::string> answer = answers[i].Get();
    if (answer.ok()) {
      printf("%s: %s\n", words[i].c_str(), answer->c_str());
    } else {
      fprintf(stderr, "udp_client: %s: %s\n", words[i].c_str(),
              answer.status().ToString().c_str());
      all = false;
    }
  }
  return all ? 0 : 1;
}
