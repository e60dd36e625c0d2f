// grove's HTTP server beside nginx, under wrk, and beside nghttpd, under h2load: on the
// same core, in turn.

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/peers.h"
#include "tools/bench/process.h"
extern "C" {
#include "tools/bench/process_usage.h"
}

namespace grove::bench {
namespace {

// What is measured.
struct HttpCase {
  std::string name;
  int connections = 100;
  bool file = false;   // of 10 KiB, and not 13 bytes
  bool tls = false;    // 1.3
  bool http2 = false;  // one connection with so many streams, and not so many connections
  double target = 1;
};

// One process of nginx that answers with the same 13 bytes, or with files of `root`.
class Nginx {
 public:
  Nginx(int core, const std::string& root, const Certificate* certificate)
      : port_(FreePort()) {
    char folder[] = "/tmp/grove_bench_nginx.XXXXXX";
    if (mkdtemp(folder) == nullptr) throw BenchError("no folder for nginx");
    folder_ = folder;
    std::ofstream(folder_ + "/conf")
        << "daemon off; master_process off; pid " << folder_ << "/pid; error_log "
        << folder_ << "/errors;\nevents { worker_connections 2048; }\nhttp { access_log "
        << "off; keepalive_requests 1000000000; default_type text/plain;\n"
        << "client_body_temp_path " << folder_ << "/b; proxy_temp_path " << folder_
        << "/p; fastcgi_temp_path " << folder_ << "/f; uwsgi_temp_path " << folder_
        << "/u; scgi_temp_path " << folder_ << "/s;\nserver { listen 127.0.0.1:" << port_
        << (certificate == nullptr
                ? std::string("; ")
                : " ssl; ssl_protocols TLSv1.3; ssl_certificate " + certificate->chain() +
                      "; ssl_certificate_key " + certificate->key() + "; ")
        << "location / { "
        << (root.empty() ? std::string("return 200 \"Hello, world!\";")
                         : "sendfile on; open_file_cache off; root " + root + ";")
        << " } } }\n";
    process_ = std::make_unique<Process>(
        std::vector<std::string>{"nginx", "-c", folder_ + "/conf"},
        ProcessOptions{.core = core, .capture_stderr = true});
    AwaitListening(port_, "nginx");
  }
  ~Nginx() {
    process_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  pid_t pid() const { return process_->pid(); }
  int port() const { return port_; }

 private:
  const int port_;
  std::string folder_;
  std::unique_ptr<Process> process_;
};

// nghttpd, with one thread, serves a folder.
class Nghttpd {
 public:
  Nghttpd(int core, const std::string& root)
      : port_(FreePort()),
        process_({"nghttpd", "--no-tls", "--address=127.0.0.1", "--htdocs=" + root,
                  absl::StrCat(port_)},
                 {.core = core, .capture_stderr = true}) {
    AwaitListening(port_, "nghttpd");
  }

  pid_t pid() const { return process_.pid(); }
  int port() const { return port_; }

 private:
  const int port_;
  Process process_;
};

// Of wrk's line "  291317 requests in 4.01s, 31.95MB read".
double RequestsOfWrk(const std::string& output) {
  const size_t at = output.find(" requests in ");
  if (at == output.npos || output.find("Socket errors") != output.npos ||
      output.find("Non-2xx") != output.npos) {
    throw BenchError("wrk: " + output);
  }
  return atof(output.c_str() + output.rfind('\n', at) + 1);
}

// Of h2load's "requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored".
double RequestsOfH2load(const std::string& output) {
  const size_t at = output.find(" done, ");
  if (at == output.npos || output.find(" 0 failed, 0 errored") == output.npos ||
      output.find(" 0 4xx, 0 5xx") == output.npos) {
    throw BenchError("h2load: " + output);
  }
  return atof(output.c_str() + at + 7);
}

Echo MeasureHttp(const Run& run, pid_t server, int port, const HttpCase& what,
                 const std::string& path) {
  const std::string url =
      absl::StrCat(what.tls ? "https" : "http", "://127.0.0.1:", port, path);
  const auto load = [&](int seconds) {
    std::vector<std::string> command;
    if (what.http2) {
      command = {"h2load", "--clients=1",
                 absl::StrCat("--max-concurrent-streams=", what.connections),
                 absl::StrCat("--duration=", seconds), url};
    } else {
      command = {"wrk", "--threads=1", absl::StrCat("--connections=", what.connections),
                 absl::StrCat("--duration=", seconds, "s"), url};
    }
    Process process(command, {.core = CoreNumber(kLoadCore), .capture_stderr = true});
    const std::string output = OutputOfLoad(process, absl::Seconds(70));
    return what.http2 ? RequestsOfH2load(output) : RequestsOfWrk(output);
  };
  if (!run.quick) load(1);
  const int seconds = run.quick ? 1 : 3;
  const int64_t cpu = CpuNsOf(server);
  const int64_t wait = WaitNsOf(server);
  const double requests = load(seconds);
  if (requests < 1) throw BenchError("not a single request was answered");
  return {.cpu_us = static_cast<double>(CpuNsOf(server) - cpu) / 1e3 / requests,
          .requests_per_s = requests / seconds,
          .p50_us = kNoValue,
          .p99_us = kNoValue,
          .p999_us = kNoValue,
          .wait_percent = static_cast<double>(WaitNsOf(server) - wait) / 1e7 / seconds};
}

// A folder with files of 10 KiB and of 13 bytes.
class Files {
 public:
  Files() {
    char folder[] = "/tmp/grove_bench_files.XXXXXX";
    if (mkdtemp(folder) == nullptr) throw BenchError("no folder for files");
    root_ = folder;
    std::ofstream(root_ + "/10k.bin") << std::string(10 << 10, 'x');
    std::ofstream(root_ + "/hello.txt") << "Hello, world!";
    // nginx may be another user by itself.
    std::filesystem::permissions(root_, std::filesystem::perms(0755));
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

Echo MeasureGrove(const Run& run, const HttpCase& what, const Files& files,
                  const Certificate* certificate) {
  std::vector<std::string> command = {FindBinary("examples/http_server"), "--hubs=1",
                                      "--root=" + files.root()};
  if (certificate != nullptr) {
    command.push_back("--tls_cert=" + certificate->chain());
    command.push_back("--tls_key=" + certificate->key());
  }
  Server server(AtAnyPort(command), CoreNumber(kServerCore));
  const std::string& port = server.address_flags().back();  // --port=N
  const Echo echo =
      MeasureHttp(run, server.pid(), atoi(port.c_str() + port.find('=') + 1), what,
                  what.file ? "/files/10k.bin" : "/");
  server.Stop();
  return echo;
}

Echo MeasurePeer(const Run& run, const HttpCase& what, const Files& files,
                 const Certificate* certificate) {
  if (what.http2) {
    const Nghttpd server(CoreNumber(kServerCore), files.root());
    return MeasureHttp(run, server.pid(), server.port(), what, "/hello.txt");
  }
  const Nginx server(CoreNumber(kServerCore), what.file ? files.root() : std::string(),
                     certificate);
  return MeasureHttp(run, server.pid(), server.port(), what,
                     what.file ? "/10k.bin" : "/");
}

void RunHttp(Run& run, const HttpCase& what) {
  const Files files;
  std::optional<Certificate> own;
  if (what.tls) own.emplace();
  const Certificate* certificate = own ? &*own : nullptr;
  Pairs pairs;
  for (int i = 0; i < run.repetitions(); ++i) {
    if (i % 2 == 0) pairs.raw.push_back(MeasurePeer(run, what, files, certificate));
    pairs.grove.push_back(MeasureGrove(run, what, files, certificate));
    if (i % 2 == 1) pairs.raw.push_back(MeasurePeer(run, what, files, certificate));
  }
  Row cpu = RowOf(
      what.name + ", CPU per request", "us", [](const Echo& e) { return e.cpu_us; },
      pairs);
  cpu.target = {Target::kRatioAtMost, what.target};
  cpu.note = WithWait(
      absl::StrCat("the peer is ", what.http2 ? "nghttpd; " : "nginx; ", cpu.note),
      pairs);
  run.table.Add(cpu);
  run.table.Add(RowOf(
      what.name + ", rate", "requests/s", [](const Echo& e) { return e.requests_per_s; },
      pairs));
}

// Connections that have had a request each, and are kept alive.
class KeptAlive {
 public:
  KeptAlive(int port, int count) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (files.rlim_max < static_cast<rlim_t>(count) + 100 ||
        setrlimit(RLIMIT_NOFILE, &files) != 0) {
      throw BenchError(absl::StrCat("a hard limit of ", files.rlim_max,
                                    " descriptors: too few for ", count, " connections"));
    }
    for (int i = 0; i < count; ++i) Add(port);
  }
  KeptAlive(const KeptAlive&) = delete;
  KeptAlive& operator=(const KeptAlive&) = delete;
  ~KeptAlive() {
    for (const int fd : fds_) close(fd);
  }

 private:
  void Add(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds_.push_back(fd);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const std::string request = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
    char response[4096];
    if (fd < 0 ||
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0 ||
        recv(fd, response, sizeof response, 0) <= 0) {
      throw BenchError(absl::StrCat("connection ", fds_.size(), ": ", strerror(errno)));
    }
  }

  std::vector<int> fds_;
};

void RunHttpIdle(Run& run) {
  const int connections = run.quick ? 100 : 10'000;
  Server server(AtAnyPort({FindBinary("examples/http_server"), "--hubs=1"}),
                CoreNumber(kServerCore));
  const std::string& port = server.address_flags().back();  // --port=N
  const int64_t before = RssKibOf(server.pid());
  const KeptAlive kept(atoi(port.c_str() + port.find('=') + 1), connections);
  // The server takes a connection for idle that has waited for a second, and looks every
  // 1.25 seconds.
  absl::SleepFor(run.quick ? absl::Milliseconds(10) : absl::Seconds(4));
  const double each = static_cast<double>(RssKibOf(server.pid()) - before) / connections;
  run.table.Add(
      {.name = absl::StrCat(connections, " idle HTTP connections, server's RSS"),
       .value = each,
       .unit = "KiB",
       .target = {Target::kAtMost, 8},
       .note = "each, after one request, kept alive"});
  server.Stop();
}

void RunHttp100(Run& run) { RunHttp(run, {.name = "HTTP, 100 connections"}); }
void RunHttp1000(Run& run) {
  RunHttp(run, {.name = "HTTP, 1000 connections", .connections = 1'000});
}
void RunHttpStatic(Run& run) {
  RunHttp(run, {.name = "HTTP, file of 10 KiB", .file = true, .target = 1.1});
}
void RunHttpTls(Run& run) {
  RunHttp(run, {.name = "HTTP over TLS 1.3, 100 connections", .tls = true});
}
void RunHttp2(Run& run) { RunHttp(run, {.name = "HTTP/2, 100 streams", .http2 = true}); }

}  // namespace

std::vector<Benchmark> HttpBenchmarks() {
  return {{"http_100", 240, &RunHttp100},       {"http_1000", 240, &RunHttp1000},
          {"http_static", 240, &RunHttpStatic}, {"http_tls", 240, &RunHttpTls},
          {"http2_100", 240, &RunHttp2},        {"http_idle", 60, &RunHttpIdle}};
}

}  // namespace grove::bench
