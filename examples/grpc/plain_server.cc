// The demo's Wait() by gRPC's own callback API, without greenlets: answered on the spot,
// on gRPC's threads, or by an alarm of gRPC's. What server.cc is compared with.

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_callback.h>
#include <signal.h>
#include <stdio.h>

#include <chrono>
#include <memory>

#include "examples/grpc/demo.grpc.pb.h"

namespace {

using grove::examples::Answer;
using grove::examples::Demo;
using grove::examples::Question;

class Service final : public Demo::CallbackService {
  grpc::ServerUnaryReactor* Wait(grpc::CallbackServerContext* context,
                                 const Question* question, Answer* answer) override {
    answer->set_text(question->text());
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    if (question->wait_ms() == 0) {
      reactor->Finish(grpc::Status::OK);
      return reactor;
    }
    auto* const alarm = new grpc::Alarm;
    alarm->Set(
        std::chrono::system_clock::now() + std::chrono::milliseconds(question->wait_ms()),
        [=](bool) {
          reactor->Finish(grpc::Status::OK);
          delete alarm;
        });
    return reactor;
  }
};

}  // namespace

int main() {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    fprintf(stderr, "plain_server: cannot listen\n");
    return 1;
  }
  printf("listening on 127.0.0.1:%d\n", port);
  fflush(stdout);
  int signal_number = 0;
  sigwait(&ends, &signal_number);
  server->Shutdown();
  return 0;
}
