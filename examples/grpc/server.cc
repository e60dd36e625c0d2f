// A gRPC server whose handlers are greenlets.
//
//   bazel run //examples/grpc:server -- --port=50051 --backend=127.0.0.1:7000
//   bazel run //examples/grpc:client -- --server=127.0.0.1:50051
//
// SIGINT and SIGTERM end it cleanly: its health is NOT_SERVING from then on, and for
// --drain_delay all goes on as before, so that a load balancer has time to look elsewhere
// (docs/deployment.md); then no call is taken any more, and those that it has may go on
// for --grace.
//
// Look at demo_service.cc, whose handlers are plain blocking functions, and here at the
// phases of the shutdown.

#include "grove/examples/grpc/bridge/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <sched.h>
#include <stdio.h>

#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/grpc/demo_service.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/hub_group.h"
#include "grove/green/shutdown.h"
#include "grove/green/sleep.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "address to listen at");
ABSL_FLAG(int, port, 50051, "port to listen at; 0 takes a free one");
ABSL_FLAG(int, hubs, static_cast<int>(grove::AllowedCores().size()),
          "hubs on which handlers run; the default is one per core that this process may "
          "use");
ABSL_FLAG(std::string, backend, "127.0.0.1:7000",
          "who answers what is asked, a line for a line; examples:echo_server does");
ABSL_FLAG(int, max_calls, 10'000, "on one connection at a time; more wait at the client");
ABSL_FLAG(bool, batch, true, "threads are SCHED_BATCH: less CPU per call under load");
ABSL_FLAG(absl::Duration, drain_delay, absl::ZeroDuration(),
          "how long it takes more after SIGINT or SIGTERM, while it is NOT_SERVING");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5), "how long calls may go on after that");

namespace {

// Whoever is woken does not at once take the core from who woke it (sched(7)): between
// gRPC's threads and the hubs this halves the switches. Threads inherit it.
void PreferLongTurns() {
  const sched_param none = {};
  if (sched_setscheduler(0, SCHED_BATCH, &none) != 0) perror("server: SCHED_BATCH");
}

}  // namespace

int main(int argc, char** argv) {
  using grove::examples::Refuse;
  grove::examples::ParseFlags(
      argc, argv,
      "Serves demo.proto by gRPC, without TLS.\n"
      "  server [--host=127.0.0.1] [--port=50051] [--hubs=N] [--backend=ADDRESS] "
      "[--max_calls=10000] [--nobatch] [--drain_delay=0s] [--grace=5s]");
  const int hubs = absl::GetFlag(FLAGS_hubs);
  const int wanted = absl::GetFlag(FLAGS_port);
  // gRPC would take the rest of a division by 65536.
  if (wanted < 0 || wanted > 65535) Refuse(absl::StrCat("--port: ", wanted, " is none"));
  const int max_calls = absl::GetFlag(FLAGS_max_calls);
  if (max_calls < 1) Refuse("--max_calls: at least one is needed");
  if (hubs < 1) Refuse(absl::StrCat("--hubs=", hubs, ": at least one is needed"));

  if (absl::GetFlag(FLAGS_batch)) PreferLongTurns();
  const absl::Duration drain_delay = absl::GetFlag(FLAGS_drain_delay);
  grove::ShutdownScope shutdown(
      {.grace = drain_delay + absl::GetFlag(FLAGS_grace), .overtime = absl::Seconds(5)});
  grove::HubGroup group({.hubs = hubs, .name = "grpc"});
  grove::bridge::Bridge bridge(group);
  grove::examples::DemoService service(&bridge, absl::GetFlag(FLAGS_backend));

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Each call is a greenlet, and of stacks there may be no more than the system gives.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, max_calls);
  int port = 0;
  const std::string host = absl::GetFlag(FLAGS_host);
  const bool brackets = absl::StrContains(host, ':') && !absl::StartsWith(host, "[");
  builder.AddListeningPort(
      absl::StrCat(brackets ? absl::StrCat("[", host, "]") : host, ":", wanted),
      grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    Refuse(absl::StrCat("cannot listen at ", absl::GetFlag(FLAGS_host), ":",
                        absl::GetFlag(FLAGS_port)));
  }
  server->GetHealthCheckService()->SetServingStatus("grove.examples.Demo", true);
  printf("listening on %s:%d (%d hubs)\n", absl::GetFlag(FLAGS_host).c_str(), port, hubs);
  fflush(stdout);

  const grove::ShutdownHook not_serving = grove::OnShutdown(
      grove::ShutdownPhase::kStopAccepting, "health", [&](grove::Deadline) {
        server->GetHealthCheckService()->Shutdown();
        grove::Sleep(drain_delay);
      });
  const grove::ShutdownHook drain = grove::OnShutdown(
      grove::ShutdownPhase::kDrain, "grpc",
      [&](grove::Deadline d) { grove::bridge::StopServer(*server, d.Remaining()); });
  const int exit_code = shutdown.Run();
  group.Drain(absl::Seconds(1));
  return exit_code;
}
