#pragma once

// What the code in deployment.md takes for given.

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

}  // namespace docs_deployment
