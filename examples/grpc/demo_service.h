#ifndef GROVE_EXAMPLES_GRPC_DEMO_SERVICE_H_
#define GROVE_EXAMPLES_GRPC_DEMO_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <string>

#include "examples/grpc/demo.grpc.pb.h"
#include "grove/examples/grpc/bridge/server.h"

namespace grove::examples {

// DemoService
//
// demo.proto, with a handler for each kind of method. Ask() sends its question to the
// backend as a line, and answers with the line that comes back.
class DemoService final : public Demo::CallbackService {
 public:
  // `backend` as net::DialAny() takes it. The bridge has to outlive the service.
  DemoService(bridge::Bridge* bridge, std::string backend)
      : bridge_(bridge), backend_(std::move(backend)) {}

  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context,
                                const Question* question, Answer* answer) override;
  grpc::ServerUnaryReactor* Wait(grpc::CallbackServerContext* context,
                                 const Question* question, Answer* answer) override;
  grpc::ServerWriteReactor<Answer>* Repeat(grpc::CallbackServerContext* context,
                                           const Question* question) override;
  grpc::ServerReadReactor<Question>* Count(grpc::CallbackServerContext* context,
                                           Answer* answer) override;
  grpc::ServerBidiReactor<Question, Answer>* Talk(
      grpc::CallbackServerContext* context) override;

 private:
  bridge::Bridge* const bridge_;
  const std::string backend_;
};

}  // namespace grove::examples

#endif  // GROVE_EXAMPLES_GRPC_DEMO_SERVICE_H_
