#include "grove/net/http/router.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

// A Router by itself: no connection, no greenlet.
namespace grove::http {
namespace {

// A response that is kept.
class KeptResponse final : public ResponseWriter {
 public:
  std::string body;

 private:
  absl::Status SendWhole(absl::string_view data, std::optional<uint64_t>, bool) override {
    body = std::string(data);
    return absl::OkStatus();
  }
  absl::Status SendWholeFile(int, uint64_t, uint64_t) override {
    return absl::OkStatus();
  }
  absl::Status BeginBody(std::optional<uint64_t>, bool) override {
    return absl::OkStatus();
  }
  absl::Status SendPiece(absl::string_view data) override {
    absl::StrAppend(&body, data);
    return absl::OkStatus();
  }
  absl::Status EndBody() override { return absl::OkStatus(); }
  absl::Status FlushPieces() override { return absl::OkStatus(); }
  void Spoil() override {}
};

std::string Ask(const Router& router, absl::string_view method,
                absl::string_view target) {
  Request request;
  request.Set({.method = method, .target = target});
  KeptResponse response;
  router(request, response);
  EXPECT_TRUE(response.Finish().ok());
  return response.status() == 200
             ? response.body
             : absl::StrCat(response.status(), " ",
                            response.headers().Get("Allow").value_or(""));
}

// Says its name, and the parameters that it is asked for.
Handler Say(std::string name, std::vector<std::string> parameters = {}) {
  return [=](Request& request, ResponseWriter& response) {
    std::string text = name;
    for (const std::string& p : parameters) {
      absl::StrAppend(&text, " ", p, "=", request.parameter(p).value_or("none"));
    }
    response.Send(text).IgnoreError();
  };
}

TEST(Router, FindsByMethodAndPath) {
  Router router;
  router.Handle("GET", "/", Say("root"));
  router.Handle("GET", "/a", Say("get a"));
  router.Handle("POST", "/a", Say("post a"));
  router.Handle("", "/any", Say("any"));
  router.Handle("GET", "/any", Say("get any"));
  EXPECT_EQ(Ask(router, "GET", "/"), "root");
  EXPECT_EQ(Ask(router, "GET", "/?x=1"), "root");
  EXPECT_EQ(Ask(router, "GET", "/a"), "get a");
  EXPECT_EQ(Ask(router, "HEAD", "/a"), "get a");
  EXPECT_EQ(Ask(router, "POST", "/a"), "post a");
  EXPECT_EQ(Ask(router, "GET", "/any"), "get any");
  EXPECT_EQ(Ask(router, "PATCH", "/any"), "any");
  EXPECT_EQ(Ask(router, "GET", "http://host/a"), "get a");
  EXPECT_EQ(Ask(router, "GET", "http://host"), "root");
}

TEST(Router, SaysWhatThereIsNot) {
  Router router;
  router.Handle("GET", "/a/b", Say("b"));
  EXPECT_EQ(Ask(router, "GET", "/a"), "404 ");
  EXPECT_EQ(Ask(router, "GET", "/a/b/"), "404 ");
  EXPECT_EQ(Ask(router, "GET", "/a//b"), "404 ");
  EXPECT_EQ(Ask(router, "GET", "/A/b"), "404 ");
  EXPECT_EQ(Ask(router, "OPTIONS", "*"), "404 ");
  EXPECT_EQ(Ask(router, "PUT", "/a/b"), "405 GET, HEAD, OPTIONS");
  EXPECT_EQ(Ask(router, "OPTIONS", "/a/b"), "204 GET, HEAD, OPTIONS");
}

TEST(Router, ParametersAreSegmentsOrTheRest) {
  Router router;
  router.Handle("GET", "/users/{id}", Say("user", {"id"}));
  router.Handle("GET", "/users/{id}/files/{path...}", Say("files", {"id", "path"}));
  EXPECT_EQ(Ask(router, "GET", "/users/7"), "user id=7");
  EXPECT_EQ(Ask(router, "GET", "/users/a%20b%2Fc"), "user id=a b/c");
  EXPECT_EQ(Ask(router, "GET", "/users/"), "404 ");
  EXPECT_EQ(Ask(router, "GET", "/users/7/files/a/b"), "files id=7 path=a/b");
  EXPECT_EQ(Ask(router, "GET", "/users/7/files/"), "files id=7 path=");
  EXPECT_EQ(Ask(router, "GET", "/users/7/files"), "404 ");
  EXPECT_EQ(Ask(router, "GET", "/users/%zz"), "400 ");
  EXPECT_EQ(Ask(router, "GET", "/users/%00"), "400 ");
  EXPECT_EQ(Ask(router, "GET", "/users/%2"), "400 ");
}

TEST(Router, WordsWinOverParameters) {
  Router router;
  router.Handle("GET", "/{x...}", Say("rest", {"x"}));
  router.Handle("GET", "/{x}/end", Say("parameter", {"x"}));
  router.Handle("GET", "/word/end", Say("word"));
  EXPECT_EQ(Ask(router, "GET", "/word/end"), "word");
  EXPECT_EQ(Ask(router, "GET", "/other/end"), "parameter x=other");
  EXPECT_EQ(Ask(router, "GET", "/word/other"), "rest x=word/other");
  EXPECT_EQ(Ask(router, "GET", "/"), "rest x=");
}

TEST(Router, MiddlewareWrapsWhatIsAddedAfterIt) {
  Router router;
  const auto tag = [](std::string name) -> Middleware {
    return [name](Handler next) -> Handler {
      return [name, next](Request& request, ResponseWriter& response) {
        if (request.query() == name) {
          response.Send(absl::StrCat("stopped by ", name)).IgnoreError();
        } else {
          next(request, response);
        }
      };
    };
  };
  router.Handle("GET", "/before", Say("before"));
  router.Use(tag("outer"));
  router.Use(tag("inner"));
  router.Handle("GET", "/after", Say("after"));
  EXPECT_EQ(Ask(router, "GET", "/before?outer"), "before");
  EXPECT_EQ(Ask(router, "GET", "/after"), "after");
  EXPECT_EQ(Ask(router, "GET", "/after?outer"), "stopped by outer");
  EXPECT_EQ(Ask(router, "GET", "/after?inner"), "stopped by inner");
}

TEST(RouterDeathTest, PatternsAreChecked) {
  Router router;
  router.Handle("GET", "/a", Say("a"));
  EXPECT_DEATH(router.Handle("GET", "/a", Say("b")), "handled twice");
  EXPECT_DEATH(router.Handle("GET", "a", Say("b")), "does not begin with a slash");
  EXPECT_DEATH(router.Handle("GET", "/{}", Say("b")), "without a name");
  EXPECT_DEATH(router.Handle("GET", "/{a...}/b", Say("b")), "is not the last");
  EXPECT_DEATH(router.Handle("GET", "/x{a}", Say("b")), "whole segment");
}

}  // namespace
}  // namespace grove::http
