// Downloads URLs into files, several at once, with a bar for each that shows how far it
// is.
//
//   bazel run //examples:concurrent_download -- --folder=/tmp https://example.org/a.iso
//   ...
//
// Look at Download(): a greenlet for each file reads a piece, writes it, and counts; the
// bars are drawn by one more, which looks at these counts now and then. No lock is needed
// between them: they are of one thread, and what a greenlet sees changes only while it
// waits.
//
// A file gets its name when it is whole, so that none that is there is half of one. On a
// terminal the bars move; elsewhere there is a line at each file's end. The exit status
// is 0 only if all are there. SIGINT and SIGTERM end it, and leave nothing half done
// behind.

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/file.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/signals.h"
#include "grove/green/pool.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/net/http/client.h"
#include "grove/net/http/client_tls.h"
#include "grove/net/http/url.h"
#include "grove/net/tls_context.h"

ABSL_FLAG(std::string, folder, ".", "where the files go");
ABSL_FLAG(int, at_once, 4, "downloads at the same time");
ABSL_FLAG(std::string, ca_file, "",
          "file with certificates to trust beside the system's");
ABSL_FLAG(absl::Duration, stall, absl::Seconds(30),
          "a server that sends nothing for so long is given up");

namespace {

using grove::File;
using grove::Greenlet;
using grove::OpenMode;
using grove::examples::ParseWords;
using grove::examples::Refuse;
using grove::http::ClientResponse;
using grove::http::HttpClient;
using grove::http::HttpClientOptions;
using grove::http::Url;

struct Progress {
  Url url;
  std::string name;
  uint64_t done = 0;
  std::optional<uint64_t> total = {};
  std::string state = "waits";
  bool failed = false;
};

// "a.iso    [#########           ]  45%   12.3 MiB  loads"
std::string Line(const Progress& p) {
  constexpr size_t kWidth = 20;
  std::string bar = "?";
  std::string percent;
  if (p.total) {
    const uint64_t total = std::max<uint64_t>(*p.total, 1);
    const uint64_t done = *p.total == 0 ? total : std::min(p.done, total);
    bar.assign(done * kWidth / total, '#');
    percent = absl::StrCat(done * 100 / total, "%");
  }
  char line[200];
  snprintf(line, sizeof line, "%-30.30s [%-20s] %4s %9.1f MiB  %.60s", p.name.c_str(),
           bar.c_str(), percent.c_str(), static_cast<double>(p.done) / (1 << 20),
           p.state.c_str());
  return line;
}

// Draws the bars over those that it has drawn before.
void Draw(const std::vector<Progress>& all, bool first) {
  std::string text = first ? "" : absl::StrCat("\x1b[", all.size(), "A");
  for (const Progress& p : all) absl::StrAppend(&text, Line(p), "\x1b[K\n");
  fputs(text.c_str(), stdout);
  fflush(stdout);
}

absl::Status Fetch(HttpClient& client, const std::string& path, Progress& p) {
  absl::StatusOr<ClientResponse> response = client.Get(p.url.ToString());
  if (!response.ok()) return response.status();
  if (!response->ok()) {
    return absl::NotFoundError(absl::StrCat("the server says ", response->status()));
  }
  p.total = response->length();
  absl::StatusOr<File> file = File::Open(path, OpenMode::kCreateNew);
  if (!file.ok()) return file.status();
  std::vector<char> buffer(256 << 10);
  for (;;) {
    const absl::StatusOr<size_t> n = response->Read(absl::MakeSpan(buffer));
    if (!n.ok()) return n.status();
    if (*n == 0) return file->Close();
    if (absl::Status s = file->Write({buffer.data(), *n}); !s.ok()) return s;
    p.done += *n;
  }
}

void Download(HttpClient& client, Progress& p, bool tell) {
  const std::string path = absl::StrCat(absl::GetFlag(FLAGS_folder), "/", p.name);
  // Nobody else's: URLs give no names that begin with a dot.
  const std::string part =
      absl::StrCat(absl::GetFlag(FLAGS_folder), "/.", p.name, ".", getpid(), ".part");
  // What is left of it goes, however this ends: also by a kill.
  struct Removal {
    const std::string& part;
    ~Removal() {
      const grove::Shield shield;
      grove::RemoveFile(part)
          .IgnoreError();  // it is not there any more, if all went well
    }
  } const removal{part};
  p.state = "loads";
  absl::Status status = Fetch(client, part, p);
  if (status.ok()) status = grove::RenameFile(part, path);
  p.failed = !status.ok();
  p.state = status.ok() ? "done" : status.ToString();
  if (tell)
    printf("%s: %s, %llu bytes\n", p.name.c_str(), p.state.c_str(),
           static_cast<unsigned long long>(p.done));
}

// Each file has a name of its own, which leads nowhere else.
std::vector<Progress> MakeList(const std::vector<std::string>& urls) {
  std::vector<Progress> all;
  for (const std::string& text : urls) {
    const absl::StatusOr<Url> url = Url::Parse(text);
    if (!url.ok()) Refuse(absl::StrCat(text, ": ", url.status().message()));
    std::string name = url->path().substr(url->path().rfind('/') + 1);
    if (name.empty()) name = "index.html";
    if (name[0] == '.')
      Refuse(absl::StrCat(text, ": \"", name, "\" is no name for a file"));
    for (const Progress& p : all) {
      if (p.name == name) Refuse(absl::StrCat("two files would be \"", name, "\""));
    }
    all.push_back({.url = *url, .name = std::move(name)});
  }
  return all;
}

HttpClient MakeClient() {
  const absl::StatusOr<grove::net::TlsClientContext> tls =
      grove::net::TlsClientContext::Make(
          {.roots_file = absl::GetFlag(FLAGS_ca_file), .alpn = {"http/1.1"}});
  if (!tls.ok()) Refuse(std::string(tls.status().message()));
  HttpClientOptions options;
  options.secure = grove::http::SecureByTls(*tls);
  options.decompress = false;  // files as they are
  options.proxy_from_environment = true;
  options.timeouts.body = absl::GetFlag(FLAGS_stall);
  options.timeouts.head = absl::GetFlag(FLAGS_stall);
  return HttpClient(std::move(options));
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);  // each as it comes, to a pipe too
  const std::vector<std::string> urls =
      ParseWords(argc, argv,
                 "Downloads URLs into files, several at once.\n"
                 "  concurrent_download [--folder=.] [--at_once=4] [--ca_file=FILE] "
                 "[--stall=30s] URL...");
  if (absl::GetFlag(FLAGS_at_once) < 1) Refuse("--at_once: at least one is needed");
  if (urls.empty()) Refuse("no URLs (see --help)");
  std::vector<Progress> all = MakeList(urls);
  HttpClient client = MakeClient();

  const bool bars = isatty(STDOUT_FILENO);
  const Greenlet<> painter = grove::Spawn([&] {
    for (bool first = true; bars; first = false) {
      Draw(all, first);
      grove::Sleep(absl::Milliseconds(100));
    }
  });
  int signal = 0;
  grove::Pool pool(absl::GetFlag(FLAGS_at_once));
  const Greenlet<> feeder = grove::Spawn([&] {
    for (Progress& p : all) pool.Spawn([&] { Download(client, p, !bars); });
  });
  const auto stop = [&](const grove::SignalInfo& info) {
    signal = info.signum;
    feeder.Kill();
    pool.Kill();
  };
  const grove::SignalHandler on_int = grove::OnSignal(SIGINT, stop);
  const grove::SignalHandler on_term = grove::OnSignal(SIGTERM, stop);
  feeder.Join();
  pool.Join();
  painter.Kill();
  if (bars) Draw(all, false);
  if (signal != 0) return 128 + signal;
  return std::any_of(all.begin(), all.end(), [](const Progress& p) { return p.failed; });
}
