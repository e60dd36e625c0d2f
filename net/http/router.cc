#include "grove/net/http/router.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"

namespace grove::http {
namespace {

// Takes the next segment off a path that begins with '/'.
absl::string_view TakeSegment(absl::string_view* path) {
  path->remove_prefix(1);
  const absl::string_view segment = path->substr(0, path->find('/'));
  path->remove_prefix(segment.size());
  return segment;
}

}  // namespace

// What may follow the segments on the way to it.
struct Router::Node {
  struct Route {
    std::string method;  // "" for all
    std::vector<std::string> parameters;
    Handler handler;
  };
  const Route* RouteOf(absl::string_view method) const {
    for (const Route& r : routes) {
      if (r.method == method || r.method.empty()) return &r;
    }
    return method == "HEAD" ? RouteOf("GET") : nullptr;
  }

  std::vector<std::pair<std::string, std::unique_ptr<Node>>> words;
  std::unique_ptr<Node> parameter;
  std::unique_ptr<Node> rest;
  std::vector<Route> routes;
};

Router::Router() : root_(std::make_shared<Node>()) {}

void Router::Use(Middleware middleware) { middleware_.push_back(std::move(middleware)); }

void Router::Handle(absl::string_view method, absl::string_view pattern,
                    Handler handler) {
  GROVE_CHECK(absl::StartsWith(pattern, "/"), "Router: the pattern '", pattern,
              "' does not begin with a slash");
  Node* node = root_.get();
  std::vector<std::string> parameters;
  absl::string_view path = pattern;
  while (!path.empty()) {
    const absl::string_view segment = TakeSegment(&path);
    std::unique_ptr<Node>* next = nullptr;
    if (absl::StartsWith(segment, "{") && absl::EndsWith(segment, "}")) {
      absl::string_view name = segment.substr(1, segment.size() - 2);
      const bool is_rest = absl::EndsWith(name, "...");
      if (is_rest) name.remove_suffix(3);
      GROVE_CHECK(IsToken(name), "Router: a parameter without a name in '", pattern, "'");
      GROVE_CHECK(!is_rest || path.empty(), "Router: {", name,
                  "...} is not the last of '", pattern, "'");
      parameters.emplace_back(name);
      next = is_rest ? &node->rest : &node->parameter;
    } else {
      GROVE_CHECK(segment.find_first_of("{}") == segment.npos,
                  "Router: a parameter is a whole segment: '", pattern, "'");
      const auto found =
          std::find_if(node->words.begin(), node->words.end(),
                       [&](const auto& word) { return word.first == segment; });
      next = found != node->words.end()
                 ? &found->second
                 : &node->words.emplace_back(std::string(segment), nullptr).second;
    }
    if (*next == nullptr) *next = std::make_unique<Node>();
    node = next->get();
  }
  for (const Node::Route& r : node->routes) {
    GROVE_CHECK(r.method != method, "Router: '", method, " ", pattern,
                "' is handled twice");
  }
  for (auto m = middleware_.rbegin(); m != middleware_.rend(); ++m) {
    handler = (*m)(std::move(handler));
  }
  // Those for all methods stand behind those for one.
  node->routes.insert(method.empty() ? node->routes.end() : node->routes.begin(),
                      {std::string(method), std::move(parameters), std::move(handler)});
}

const Router::Node* Router::Find(const Node& node, absl::string_view path,
                                 std::vector<absl::string_view>* values) const {
  if (path.empty()) return node.routes.empty() ? nullptr : &node;
  absl::string_view rest = path;
  const absl::string_view segment = TakeSegment(&rest);
  for (const auto& [word, next] : node.words) {
    if (word != segment) continue;
    if (const Node* found = Find(*next, rest, values)) return found;
    break;
  }
  if (node.parameter && !segment.empty()) {
    values->push_back(segment);
    if (const Node* found = Find(*node.parameter, rest, values)) return found;
    values->pop_back();
  }
  if (node.rest) {
    values->push_back(path.substr(1));
    return node.rest.get();
  }
  return nullptr;
}

void Router::operator()(Request& request, ResponseWriter& response) const {
  std::vector<absl::string_view> values;
  const absl::string_view path = request.path();
  const Node* node = absl::StartsWith(path, "/") ? Find(*root_, path, &values) : nullptr;
  if (node == nullptr) {
    response.Send(404, "text/plain", "Not Found\n").IgnoreError();
    return;
  }
  const Node::Route* route = node->RouteOf(request.method());
  if (route == nullptr) {
    std::string allow;
    for (const Node::Route& r : node->routes) {
      absl::StrAppend(&allow, allow.empty() ? "" : ", ", r.method,
                      r.method == "GET" ? ", HEAD" : "");
    }
    response.headers().Set("Allow", absl::StrCat(allow, ", OPTIONS"));
    if (request.method() == "OPTIONS") {
      response.set_status(204);
      response.Send("").IgnoreError();
    } else {
      response.Send(405, "text/plain", "Method Not Allowed\n").IgnoreError();
    }
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    std::optional<std::string> value = DecodePercent(values[i]);
    if (!value.has_value()) {
      response.Send(400, "text/plain", "malformed path\n").IgnoreError();
      return;
    }
    request.AddParameter(route->parameters[i], *std::move(value));
  }
  route->handler(request, response);
}

}  // namespace grove::http
