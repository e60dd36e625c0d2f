#pragma once

// What the code in processes.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/os/run.h"
#include "grove/net/tcp.h"
#include "grove/sync/channel.h"
#include "grove/sync/select.h"

namespace docs_processes {

using namespace grove;

struct Config {
  void Reload();
};
struct Server {
  void Stop();
};
struct Job {};
void Do(const Job& job);
void Log(absl::string_view text);
int Serve(net::TcpListener& listener);

extern absl::StatusOr<CompletedProcess> done;
extern std::string picture;
extern char buffer[512];
extern Config config;
extern Server server;
extern Channel<Job> jobs;
extern net::TcpListener listener;

}  // namespace docs_processes
