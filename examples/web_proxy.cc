// A forward proxy for HTTP: plain requests, and tunnels (CONNECT) for everything else.
//
//   bazel run //examples:web_proxy -- --listen=127.0.0.1:7004
//   curl -x http://127.0.0.1:7004 http://example.org/
//   curl -x http://127.0.0.1:7004 https://example.org/
//
// Look at Serve(): it reads the head of a request (RFC 9112), decides whom to dial, and
// carries bytes: in both directions for a tunnel, else one request and one response. Both
// sides are told "Connection: close" (RFC 9110, 7.6.1), and what a client sends behind
// its request goes nowhere: the next one may be for somebody else. Bodies of any length
// pass with no more in memory than is on their way.
//
// Whoever can reach it can reach what this machine can: it listens on loopback unless
// told otherwise, and tunnels to --connect_ports only. SIGINT and SIGTERM end it cleanly.

#include <stdio.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "grove/examples/listen.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/green/task_group.h"
#include "grove/net/buffered_stream.h"
#include "grove/net/dial.h"
#include "grove/net/relay.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7004", "address to listen at");
ABSL_FLAG(std::vector<std::string>, connect_ports, {"443"},
          "ports to which tunnels may lead, with commas between; \"any\" allows all");
ABSL_FLAG(absl::Duration, head_timeout, absl::Seconds(10),
          "how long the head of a request may take");
ABSL_FLAG(absl::Duration, connect_timeout, absl::Seconds(10),
          "how long connecting may take");
ABSL_FLAG(absl::Duration, idle_limit, absl::Minutes(5),
          "a connection over which nothing has gone for so long is cut");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(10),
          "how long open connections may go on after SIGINT or SIGTERM");

namespace {

using grove::TaskGroup;
using grove::examples::ListenAt;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::HostAndPort;
using grove::net::Relay;
using grove::net::StreamReader;
using grove::net::StreamServer;
using grove::net::TcpStream;

constexpr size_t kMaxHead = 64 << 10;

// Whom a request is for, and what is to be said to him first: nothing, in a tunnel.
struct Wanted {
  HostAndPort to;
  bool tunnel = false;
  std::string head;
  // Its body: chunked, or so many bytes (RFC 9112, 6).
  bool chunked = false;
  uint64_t length = 0;
};

// "http://example.org:8080/a?b" is "example.org:8080" and "/a?b".
absl::StatusOr<std::pair<std::string, std::string>> SplitUrl(absl::string_view url) {
  if (!absl::StartsWithIgnoreCase(url, "http://")) {
    return absl::InvalidArgumentError("the target is no http:// URL");
  }
  url.remove_prefix(7);
  const size_t end = std::min(url.find_first_of("/?"), url.size());
  std::string authority(url.substr(0, end));
  // Behind the brackets of an IPv6 address, which has colons of its own.
  const size_t host_end = authority.find(']') == authority.npos ? 0 : authority.find(']');
  if (authority.find(':', host_end) == authority.npos) authority += ":80";
  const absl::string_view path = url.substr(end);
  return std::pair(std::move(authority),
                   absl::StrCat(absl::StartsWith(path, "/") ? "" : "/", path));
}

// Fields that are between the client and this proxy only (RFC 9110, 7.6.1).
bool IsHopByHop(absl::string_view name, absl::string_view connection) {
  for (const absl::string_view own :
       {"Connection", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection",
        "TE", "Upgrade"}) {
    if (absl::EqualsIgnoreCase(name, own)) return true;
  }
  for (const absl::string_view named : absl::StrSplit(connection, ',')) {
    if (absl::EqualsIgnoreCase(name, absl::StripAsciiWhitespace(named))) return true;
  }
  return false;
}

absl::StatusOr<std::string> EndToEndFields(absl::Span<const absl::string_view> lines) {
  std::string connection, fields;
  for (const absl::string_view line : lines) {
    if (line.empty() || line.find_first_of("\r\n") != line.npos ||
        line.find_first_of(": \t") != line.find(':') || line.find(':') == line.npos) {
      return absl::InvalidArgumentError("a field that is none");
    }
    const auto [name, value] = std::pair<absl::string_view, absl::string_view>(
        absl::StrSplit(line, absl::MaxSplits(':', 1)));
    if (absl::EqualsIgnoreCase(name, "Connection")) {
      absl::StrAppend(&connection, value, ",");
    }
  }
  for (const absl::string_view named : absl::StrSplit(connection, ',')) {
    const absl::string_view name = absl::StripAsciiWhitespace(named);
    if (absl::EqualsIgnoreCase(name, "Content-Length") ||
        absl::EqualsIgnoreCase(name, "Transfer-Encoding")) {
      return absl::InvalidArgumentError(
          "a field that says where the body ends is not for one connection");
    }
  }
  for (const absl::string_view line : lines) {
    if (!IsHopByHop(line.substr(0, line.find(':')), connection)) {
      absl::StrAppend(&fields, line, "\r\n");
    }
  }
  return fields;
}

// Where the body ends, of which the client and the origin must think alike.
absl::Status ReadFraming(absl::Span<const absl::string_view> lines, bool http_1_0,
                         Wanted& wanted) {
  int lengths = 0;
  for (const absl::string_view line : lines) {
    const absl::string_view name = line.substr(0, line.find(':'));
    const absl::string_view value =
        absl::StripAsciiWhitespace(line.substr(std::min(line.size(), name.size() + 1)));
    if (absl::EqualsIgnoreCase(name, "Content-Length")) {
      const bool digits =
          !value.empty() && value.find_first_not_of("0123456789") == value.npos;
      if (!digits || ++lengths > 1 || !absl::SimpleAtoi(value, &wanted.length)) {
        return absl::InvalidArgumentError("a length that is none");
      }
    } else if (absl::EqualsIgnoreCase(name, "Transfer-Encoding")) {
      if (wanted.chunked || !absl::EqualsIgnoreCase(value, "chunked")) {
        return absl::InvalidArgumentError("an encoding of the body that is not known");
      }
      wanted.chunked = true;
    }
  }
  if (wanted.chunked && http_1_0) {
    return absl::InvalidArgumentError("an encoding of the body, which HTTP/1.0 has not");
  }
  if (wanted.chunked && lengths > 0) {
    return absl::InvalidArgumentError("a length and an encoding of the body");
  }
  return absl::OkStatus();
}

bool MayTunnelTo(int port) {
  for (const std::string& allowed : absl::GetFlag(FLAGS_connect_ports)) {
    if (allowed == "any" || allowed == absl::StrCat(port)) return true;
  }
  return false;
}

absl::StatusOr<Wanted> ParseHead(absl::string_view head) {
  const std::vector<absl::string_view> lines =
      absl::StrSplit(absl::StripSuffix(head, "\r\n\r\n"), "\r\n");
  const std::vector<absl::string_view> words = absl::StrSplit(lines[0], ' ');
  if (words.size() != 3 || words[0].empty() ||
      (words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0")) {
    return absl::InvalidArgumentError("that is no request");
  }
  if (words[0] == "CONNECT") {
    absl::StatusOr<HostAndPort> to = grove::net::ParseHostAndPort(words[1]);
    if (!to.ok()) return to.status();
    if (!MayTunnelTo(to->port)) {
      return absl::PermissionDeniedError(absl::StrCat("no tunnels to port ", to->port));
    }
    return Wanted{.to = *std::move(to), .tunnel = true, .head = ""};
  }
  const auto url = SplitUrl(words[1]);
  if (!url.ok()) return url.status();
  absl::StatusOr<HostAndPort> to = grove::net::ParseHostAndPort(url->first);
  if (!to.ok()) return to.status();
  const absl::StatusOr<std::string> fields =
      EndToEndFields(absl::MakeSpan(lines).subspan(1));
  if (!fields.ok()) return fields.status();
  // The client's version stays: what one of HTTP/1.0 could not read is not sent to it.
  Wanted wanted{.to = *std::move(to),
                .head = absl::StrCat(words[0], " ", url->second, " ", words[2],
                                     "\r\nHost: ", absl::StripSuffix(url->first, ":80"),
                                     "\r\nConnection: close\r\nVia: 1.1 grove\r\n",
                                     *fields, "\r\n")};
  if (absl::Status s =
          ReadFraming(absl::MakeSpan(lines).subspan(1), words[2] == "HTTP/1.0", wanted);
      !s.ok()) {
    return s;
  }
  return wanted;
}

void Answer(TcpStream& client, absl::string_view status, absl::string_view why) {
  const absl::Status sent = client.Write(absl::StrCat(
      "HTTP/1.1 ", status, "\r\nContent-Type: text/plain\r\nContent-Length: ",
      why.size() + 1, "\r\nConnection: close\r\n\r\n", why, "\n"));
  if (!sent.ok() || !client.ShutdownWrite().ok()) return;
  // A close with something unread is a reset, by which the answer could be lost.
  char rest[4096];
  const grove::Deadline linger = absl::Seconds(2);
  for (absl::StatusOr<size_t> n = 1; n.ok() && *n > 0;) {
    n = client.Read(absl::MakeSpan(rest), linger);
  }
}

// One request and one response, between two that may send at the same time.
class Exchange {
 public:
  Exchange(TcpStream& client, StreamReader& from_client, TcpStream& server)
      : client_(client), from_client_(from_client), server_(server) {}

  absl::Status Run(const Wanted& wanted) {
    TaskGroup both({.name = "exchange"});
    both.Spawn([&]() -> absl::Status {
      absl::Status s = SendBody(wanted);
      // An origin may answer, and close, before it has all: what it says decides.
      if (refused_) return absl::OkStatus();
      return s.ok() ? WatchClient() : s;
    });
    both.Spawn([&] {
      absl::Status s = CarryResponse();
      both.Cancel();
      return s;
    });
    return both.Join();
  }

 private:
  absl::Status SendBody(const Wanted& wanted) {
    if (!wanted.chunked) return SendBytes(wanted.length);
    for (uint64_t size = 1; size > 0;) {
      const absl::StatusOr<absl::string_view> line =
          from_client_.ReadUntil("\r\n", 1024, limit_);
      if (!line.ok()) return line.status();
      absl::string_view digits = line->substr(0, line->find_first_of(";\r \t"));
      // SimpleHexAtoi() would take "0x10".
      if (digits.empty() || digits.size() > 15 ||
          digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos ||
          !absl::SimpleHexAtoi(digits, &size)) {
        return absl::InvalidArgumentError("a chunk that is none");
      }
      if (absl::Status s = ToServer(*line); !s.ok()) return s;
      if (size == 0) break;
      if (absl::Status s = SendBytes(size); !s.ok()) return s;
      const absl::StatusOr<absl::string_view> end =
          from_client_.ReadUntil("\r\n", 2, limit_);
      if (!end.ok()) return end.status();
      if (absl::Status s = ToServer(*end); !s.ok()) return s;
    }
    for (;;) {  // the trailers, and an empty line
      const absl::StatusOr<absl::string_view> line =
          from_client_.ReadUntil("\r\n", kMaxHead, limit_);
      if (!line.ok()) return line.status();
      const bool last = line->size() == 2;
      if (absl::Status s = ToServer(*line); !s.ok()) return s;
      if (last) return absl::OkStatus();
    }
  }

  absl::Status SendBytes(uint64_t left) {
    while (left > 0) {
      if (from_client_.buffered().empty()) {
        const absl::StatusOr<absl::string_view> more = from_client_.ReadMore(limit_);
        if (!more.ok()) return more.status();
        if (more->empty()) return absl::DataLossError("the request ends too early");
      }
      const absl::string_view part = from_client_.buffered().substr(0, left);
      if (absl::Status s = ToServer(part); !s.ok()) return s;
      left -= part.size();
      from_client_.Consume(part.size());
    }
    return absl::OkStatus();
  }

  absl::Status ToServer(absl::string_view data) {
    absl::Status s = server_.Write(data, limit_);
    refused_ = refused_ || (!s.ok() && !absl::IsDeadlineExceeded(s));
    return s;
  }

  // Its end is passed on. Anything else is for another connection.
  absl::Status WatchClient() {
    if (!from_client_.buffered().empty()) return absl::OkStatus();
    const absl::StatusOr<absl::string_view> more = from_client_.ReadMore();
    if (!more.ok()) return more.status();
    return more->empty() ? server_.ShutdownWrite() : absl::OkStatus();
  }

  // The origin may be silent for as long as it is sent something.
  absl::Status AwaitServer() {
    for (;;) {
      const uint64_t before = server_.activity().bytes_written;
      absl::Status s = server_.WaitReadable(limit_);
      if (!absl::IsDeadlineExceeded(s) || server_.activity().bytes_written == before) {
        return s;
      }
    }
  }

  absl::Status CarryResponse() {
    StreamReader from_server(server_, kMaxHead);
    for (bool final = false; !final;) {
      if (from_server.buffered().empty()) {
        if (absl::Status s = AwaitServer(); !s.ok()) return NoResponse(s);
      }
      const absl::StatusOr<absl::string_view> head =
          from_server.ReadUntil("\r\n\r\n", kMaxHead, limit_);
      if (!head.ok()) return NoResponse(head.status());
      const std::vector<absl::string_view> lines =
          absl::StrSplit(absl::StripSuffix(*head, "\r\n\r\n"), "\r\n");
      const auto fields = EndToEndFields(absl::MakeSpan(lines).subspan(1));
      if (!absl::StartsWith(lines[0], "HTTP/1.") || lines[0].size() < 12 ||
          !fields.ok()) {
        return NoResponse(absl::InvalidArgumentError("that is no response"));
      }
      final = lines[0][9] != '1';  // "HTTP/1.1 100 Continue" comes before another one
      absl::Status s = client_.Write(
          absl::StrCat(lines[0], "\r\n", *fields,
                       final ? "Connection: close\r\nVia: 1.1 grove\r\n" : "", "\r\n"),
          limit_);
      if (!s.ok()) return s;
      answered_ = true;
    }
    for (;;) {
      if (!from_server.buffered().empty()) {
        const absl::string_view part = from_server.buffered();
        if (absl::Status s = client_.Write(part, limit_); !s.ok()) return s;
        from_server.Consume(part.size());
      }
      if (absl::Status s = AwaitServer(); !s.ok()) return s;
      const absl::StatusOr<absl::string_view> more = from_server.ReadMore(limit_);
      if (!more.ok()) return more.status();
      if (more->empty()) return client_.ShutdownWrite();
    }
  }

  absl::Status NoResponse(absl::Status why) {
    if (answered_ || absl::IsCancelled(why)) return why;
    Answer(client_,
           absl::IsDeadlineExceeded(why) ? "504 Gateway Timeout" : "502 Bad Gateway",
           why.message());
    return absl::OkStatus();
  }

  const absl::Duration limit_ = absl::GetFlag(FLAGS_idle_limit);
  TcpStream& client_;
  StreamReader& from_client_;
  TcpStream& server_;
  bool answered_ = false;
  bool refused_ = false;  // the origin takes no more
};

void Serve(TcpStream& client) {
  StreamReader reader(client, kMaxHead);
  const absl::StatusOr<absl::string_view> head =
      reader.ReadUntil("\r\n\r\n", kMaxHead, absl::GetFlag(FLAGS_head_timeout));
  if (absl::IsDeadlineExceeded(head.status())) {
    return Answer(client, "408 Request Timeout", "the request did not come");
  } else if (absl::IsResourceExhausted(head.status())) {
    return Answer(client, "431 Request Header Fields Too Large", "too long a head");
  } else if (!head.ok()) {
    return;  // the client has gone
  }
  const absl::StatusOr<Wanted> wanted = ParseHead(*head);
  if (!wanted.ok()) {
    return Answer(
        client,
        absl::IsPermissionDenied(wanted.status()) ? "403 Forbidden" : "400 Bad Request",
        wanted.status().message());
  }
  absl::StatusOr<TcpStream> server =
      grove::net::Dial(wanted->to.host, wanted->to.port,
                       {.deadline = absl::GetFlag(FLAGS_connect_timeout)});
  if (!server.ok()) {
    return Answer(client,
                  absl::IsDeadlineExceeded(server.status()) ? "504 Gateway Timeout"
                                                            : "502 Bad Gateway",
                  server.status().message());
  }
  const absl::Duration patience = absl::GetFlag(FLAGS_connect_timeout);
  if (wanted->tunnel) {
    if (!server->Write(reader.buffered(), patience).ok() ||
        !client.Write("HTTP/1.1 200 Connection established\r\n\r\n").ok()) {
      return client.Abort();
    }
    return Relay(client, *server, {.idle_limit = absl::GetFlag(FLAGS_idle_limit)})
        .IgnoreError();
  }
  if (!server->Write(wanted->head, patience).ok() ||
      !Exchange(client, reader, *server).Run(*wanted).ok()) {
    client.Abort();
    server->Abort();
  }
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(
      argc, argv,
      "A forward proxy for HTTP, with tunnels by CONNECT.\n"
      "  web_proxy [--listen=127.0.0.1:7004] [--connect_ports=443] "
      "[--head_timeout=10s] [--connect_timeout=10s] [--idle_limit=5m] [--grace=10s]");
  for (const std::string& port : absl::GetFlag(FLAGS_connect_ports)) {
    int number;
    if (port != "any" &&
        (!absl::SimpleAtoi(port, &number) || number < 1 || number > 65535)) {
      Refuse(absl::StrCat("--connect_ports: \"", port, "\" is no port"));
    }
  }

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  StreamServer server(ListenAt(absl::GetFlag(FLAGS_listen)), &Serve,
                      {// The end of the program is not the client's: what has begun goes
                       // on, as long as the grace lasts.
                       .on_drain = [](grove::net::Stream&) {},
                       .name = "proxy"});
  server.Start();
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "proxy",
                        [&](grove::Deadline d) { server.Stop(d.Remaining()); });
  printf("listening on %s\n", server.description().c_str());
  fflush(stdout);
  return shutdown.Run();
}
