#ifndef GROVE_NET_HTTP_ROUTER_H_
#define GROVE_NET_HTTP_ROUTER_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/net/http/handler.h"

namespace grove::http {

// A function that wraps a handler: what it does before and after, or in its place.
//
//   Handler Authenticated(Handler next) {
//     return [next](Request& request, ResponseWriter& response) {
//       if (!Knows(request)) return (void)response.Send(401, "text/plain", "who?\n");
//       next(request, response);
//     };
//   }
using Middleware = std::function<Handler(Handler)>;

// Router
//
// A handler that hands requests on, by method and path.
//
//   Router router;
//   router.Use(&Authenticated);
//   router.Handle("GET", "/users/{id}", [](Request& request, ResponseWriter& response) {
//     response.Send(200, "text/plain", *request.parameter("id")).IgnoreError();
//   });
//   router.Handle("GET", "/files/{path...}", StaticFiles({.root = "/srv/www"}));
//   HttpServer server(std::move(listener), router);
//
// A pattern is a path of segments. "{name}" stands for one segment that is not empty,
// "{name...}", which may only be the last, for all the rest, which may be empty and have
// slashes. Parameters are decoded ("%20"), after the path was taken apart: an encoded
// slash does not make two segments. Of several that match wins the one that has, from the
// left on, the word rather than the parameter, and the parameter rather than the rest; a
// pattern that is handled twice, or is malformed, is a fatal error.
//
// A path that no pattern matches is 404; one that has other methods only 405, with Allow.
// HEAD is answered by the handler of GET if it has none, and OPTIONS by Allow.
//
// Copies share their routes. Threads: filled by one before it is used; then each hub may
// use a copy, and its handlers run on all of them.
class Router {
 public:
  Router();

  // Router::Handle()
  //
  // `method` may be "" for all.
  void Handle(absl::string_view method, absl::string_view pattern, Handler handler);

  // Router::Use()
  //
  // Wraps the handlers that are added from now on. The first one is the outermost.
  void Use(Middleware middleware);

  void operator()(Request& request, ResponseWriter& response) const;

 private:
  struct Node;

  const Node* Find(const Node& node, absl::string_view path,
                   std::vector<absl::string_view>* values) const;

  std::shared_ptr<Node> root_;
  std::vector<Middleware> middleware_;
};

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_ROUTER_H_
