#pragma once

// What the code in http.md takes for given.

#include "grove/green/os/file.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/net/http/router.h"
#include "grove/net/http/server.h"
#include "grove/net/http/static_files.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_listener.h"

namespace docs_http {

using namespace grove;
using namespace grove::http;
using namespace grove::net;

void Store(absl::string_view type, absl::string_view piece);
struct Row {};
std::string ToCsv(const Row& row);
struct Event {
  std::string text;
};
struct Log {
  void Append(absl::string_view line);
};
void ShowUser(Request& request, ResponseWriter& response);
void Handle(Request& request, ResponseWriter& response);

extern std::vector<Row> rows;
extern std::vector<Event> feed;
extern File file;
extern uint64_t size;
extern ResponseWriter& response;
extern TcpListener listener;
extern Log log;

}  // namespace docs_http
