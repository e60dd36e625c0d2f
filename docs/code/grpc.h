#pragma once

// What the code in grpc.md takes for given.

#include <grpcpp/grpcpp.h>

#include <memory>

#include "examples/grpc/demo.grpc.pb.h"
#include "grove/examples/grpc/bridge/client.h"

namespace docs_grpc {

using namespace grove;
using namespace grove::examples;

extern std::unique_ptr<Demo::Stub> stub;
extern Question question;
extern Answer answer;

}  // namespace docs_grpc
