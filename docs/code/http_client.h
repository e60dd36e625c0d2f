#pragma once

// What the code in http_client.md takes for given.

#include "grove/green/sleep.h"
#include "grove/net/dial.h"
#include "grove/net/http/client.h"
#include "grove/net/http/server.h"
#include "grove/net/testing/memory_listener.h"

namespace docs_http_client {

using namespace grove;
using namespace grove::http;

struct Row {};
std::string ToCsv(const Row& row);
absl::Status Refused(int status);

extern std::vector<Row> rows;
extern HttpClient client;
extern HttpClientOptions options;

}  // namespace docs_http_client
