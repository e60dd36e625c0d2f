#pragma once

// What the code in http.md takes for given.

#include "absl/strings/match.h"
#include "grove/green/os/file.h"
#include "grove/green/sleep.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/net/http/router.h"
#include "grove/net/http/server.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_listener.h"
#include "grove/net/tls.h"

namespace docs_http {

using namespace grove;
using namespace grove::http;

void Store(absl::string_view type, absl::string_view piece);
struct Row {};
std::string ToCsv(const Row& row);
struct News {
  std::string id;
  std::string text;
};
struct Subscription {
  News Next();
};
Subscription Subscribe(absl::string_view after);
struct Log {
  void Append(absl::string_view line);
};
void ShowUser(Request& request, ResponseWriter& response);

extern std::vector<Row> rows;
extern File file;
extern uint64_t size;
extern ResponseWriter& response;
extern net::TcpListener listener;
extern Router router;
extern Log log;

}  // namespace docs_http
