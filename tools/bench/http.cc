// grove's HTTP server beside nginx, under wrk, on the same core, in turn.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"
extern "C" {
#include "tools/bench/process_usage.h"
}

namespace grove::bench {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

// nginx takes no port 0.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  const bool bound = bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(fd);
  if (!bound) throw BenchError("no free port");
  return ntohs(address.sin_port);
}

bool Connects(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(port);
  const bool connected =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return connected;
}

// One process of nginx that answers with the same 13 bytes, or with files of `root`.
class Nginx {
 public:
  explicit Nginx(int core, const std::string& root = {}) : port_(FreePort()) {
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
        << "; location / { "
        << (root.empty() ? std::string("return 200 \"Hello, world!\";")
                         : "sendfile on; open_file_cache off; root " + root + ";")
        << " } } }\n";
    process_ = std::make_unique<Process>(
        std::vector<std::string>{"nginx", "-c", folder_ + "/conf"},
        ProcessOptions{.core = core, .capture_stderr = true});
    const absl::Time until = absl::Now() + absl::Seconds(10);
    while (!Connects(port_)) {
      if (absl::Now() > until) throw BenchError("nginx does not listen");
      absl::SleepFor(absl::Milliseconds(10));
    }
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

// Of the line "  291317 requests in 4.01s, 31.95MB read".
double RequestsIn(const std::string& output) {
  const size_t at = output.find(" requests in ");
  if (at == output.npos || output.find("Socket errors") != output.npos ||
      output.find("Non-2xx") != output.npos) {
    throw BenchError("wrk: " + output);
  }
  return atof(output.c_str() + output.rfind('\n', at) + 1);
}

Echo MeasureHttp(const Run& run, pid_t server, int port, int connections,
                 const std::string& path) {
  const auto load = [&](int seconds) {
    const std::vector<std::string> command = {
        "wrk", "--threads=1", absl::StrCat("--connections=", connections),
        absl::StrCat("--duration=", seconds, "s"),
        absl::StrCat("http://127.0.0.1:", port, path)};
    Process wrk(command, {.core = CoreNumber(kLoadCore), .capture_stderr = true});
    return OutputOfLoad(wrk, absl::Seconds(70));
  };
  if (!run.quick) load(1);
  const int seconds = run.quick ? 1 : 3;
  const int64_t cpu = CpuNsOf(server);
  const int64_t wait = WaitNsOf(server);
  const double requests = RequestsIn(load(seconds));
  if (requests < 1) throw BenchError("not a single request was answered");
  return {.cpu_us = static_cast<double>(CpuNsOf(server) - cpu) / 1e3 / requests,
          .requests_per_s = requests / seconds,
          .p50_us = kNoValue,
          .p99_us = kNoValue,
          .p999_us = kNoValue,
          .wait_percent = static_cast<double>(WaitNsOf(server) - wait) / 1e7 / seconds};
}

// A folder with "10k.bin", if it is asked for.
class Files {
 public:
  explicit Files(bool wanted) {
    if (!wanted) return;
    char folder[] = "/tmp/grove_bench_files.XXXXXX";
    if (mkdtemp(folder) == nullptr) throw BenchError("no folder for files");
    root_ = folder;
    std::ofstream(root_ + "/10k.bin") << std::string(10 << 10, 'x');
    // nginx may be another user by itself.
    std::filesystem::permissions(root_, std::filesystem::perms(0755));
  }
  ~Files() {
    std::error_code ignored;
    if (!root_.empty()) std::filesystem::remove_all(root_, ignored);
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

Echo MeasureGrove(const Run& run, int connections, const Files& files) {
  std::vector<std::string> command = {FindBinary("examples/http_server"), "--hubs=1"};
  if (!files.root().empty()) command.push_back("--root=" + files.root());
  Server server(AtAnyPort(command), CoreNumber(kServerCore));
  const std::string& port = server.address_flags().back();  // --port=N
  const Echo echo =
      MeasureHttp(run, server.pid(), atoi(port.c_str() + port.find('=') + 1), connections,
                  files.root().empty() ? "/" : "/files/10k.bin");
  server.Stop();
  return echo;
}

Echo MeasureNginx(const Run& run, int connections, const Files& files) {
  const Nginx server(CoreNumber(kServerCore), files.root());
  return MeasureHttp(run, server.pid(), server.port(), connections,
                     files.root().empty() ? "/" : "/10k.bin");
}

void RunHttp(Run& run, const std::string& name, int connections, bool file,
             double target) {
  const Files files(file);
  Pairs pairs;
  for (int i = 0; i < run.repetitions(); ++i) {
    if (i % 2 == 0) pairs.raw.push_back(MeasureNginx(run, connections, files));
    pairs.grove.push_back(MeasureGrove(run, connections, files));
    if (i % 2 == 1) pairs.raw.push_back(MeasureNginx(run, connections, files));
  }
  Row cpu = RowOf(
      name + ", CPU per request", "us", [](const Echo& e) { return e.cpu_us; }, pairs);
  cpu.target = {Target::kRatioAtMost, target};
  cpu.note = WithWait(absl::StrCat("the peer is nginx; ", cpu.note), pairs);
  run.table.Add(cpu);
  run.table.Add(RowOf(
      name + ", rate", "requests/s", [](const Echo& e) { return e.requests_per_s; },
      pairs));
}

void RunHttp100(Run& run) { RunHttp(run, "HTTP, 100 connections", 100, false, 1); }
void RunHttp1000(Run& run) { RunHttp(run, "HTTP, 1000 connections", 1'000, false, 1); }
void RunHttpStatic(Run& run) { RunHttp(run, "HTTP, file of 10 KiB", 100, true, 1.1); }

}  // namespace

std::vector<Benchmark> HttpBenchmarks() {
  return {{"http_100", 240, &RunHttp100},
          {"http_1000", 240, &RunHttp1000},
          {"http_static", 240, &RunHttpStatic}};
}

}  // namespace grove::bench
