#pragma once

// What the code in deployment.md takes for given.

#include <grpcpp/grpcpp.h>

#include <memory>

#include "grove/examples/grpc/bridge/server.h"
#include "grove/green/shutdown.h"
#include "grove/green/sleep.h"
#include "grove/net/http/router.h"
#include "grove/net/http/server.h"

namespace docs_deployment {

using namespace grove;
using namespace grove::http;

extern absl::Duration drain_delay;
extern absl::Duration grace;
extern Router router;
extern HttpServer server;
extern std::unique_ptr<grpc::Server> grpc_server;

}  // namespace docs_deployment
