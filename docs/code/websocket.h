#pragma once

// What the code in websocket.md takes for given.

#include "grove/net/http/router.h"
#include "grove/net/http/server.h"
#include "grove/net/http/websocket.h"
#include "grove/net/testing/memory_listener.h"

namespace docs_websocket {

using namespace grove;
using namespace grove::http;

// The page's first handler.
inline void Echo(Request& request, ResponseWriter& response) {
  absl::StatusOr<WebSocket> ws = AcceptWebSocket(request, response);
  if (!ws.ok()) return;
  for (;;) {
    absl::StatusOr<std::optional<WebSocketMessage>> m = ws->Receive();
    if (!m.ok() || !m->has_value() || !ws->Send((*m)->type, (*m)->data).ok()) return;
  }
}

extern Router router;

}  // namespace docs_websocket
