#include "grove/net/http/static_files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/net/http/compress.h"
#include "grove/net/http/date.h"
#include "grove/net/http/http_test_util.h"
#include "grove/net/http/router.h"

namespace grove::http {
namespace {

class StaticFilesTest : public HttpTest {
 protected:
  // The pool that looks names up is of the real world.
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
  void SetUp() override {
    top_ = std::string(getenv("TEST_TMPDIR")) + "/files.XXXXXX";
    ASSERT_NE(mkdtemp(top_.data()), nullptr);
    root_ = top_ + "/www";
    std::filesystem::create_directory(root_);
  }
  void TearDown() override {
    HttpTest::TearDown();
    std::filesystem::remove_all(top_);
  }
  // Of a time that is long past, so that it may be asked for by it.
  void Make(const std::string& name, const std::string& content,
            time_t modified = 1'000'000'000) {
    std::filesystem::create_directories(
        std::filesystem::path(root_ + "/" + name).parent_path());
    std::ofstream(root_ + "/" + name, std::ios::binary) << content;
    const timespec times[2] = {{modified, 0}, {modified, 0}};
    ASSERT_EQ(utimensat(AT_FDCWD, (root_ + "/" + name).c_str(), times, 0), 0);
  }
  void StartFiles(StaticFilesOptions options = {}, bool compress = false) {
    options.root = root_;
    Router router;
    if (compress) router.Use(Compress());
    router.Handle("GET", "/f/{path...}", StaticFiles(std::move(options)));
    Start(router);
  }
  Answer AskRange(absl::string_view range, absl::string_view fields = "") {
    return AskGet("/f/a.txt", absl::StrCat("Range: ", range, "\r\n", fields));
  }

  std::string top_;
  std::string root_;
};

GREENLET_TEST_F(StaticFilesTest, AFileOfAnySizeArrivesWhole) {
  for (size_t size : {0, 1, 4096, 16384, 16385, 70'000, 1'000'000}) {
    Make(absl::StrCat(size), std::string(size, 'x'));
  }
  StartFiles();
  for (size_t size : {0, 1, 4096, 16384, 16385, 70'000, 1'000'000}) {
    const Answer answer = AskGet(absl::StrCat("/f/", size));
    EXPECT_TRUE(answer.body == std::string(size, 'x')) << size;
    EXPECT_EQ(answer.Get("Content-Length"), absl::StrCat(size));
    EXPECT_EQ(AskHead(absl::StrCat("/f/", size)).Get("Content-Length"),
              absl::StrCat(size));
  }
}

GREENLET_TEST_F(StaticFilesTest, AFileThatChangesIsSeenAtOnce) {
  Make("a.txt", "one");
  StartFiles();
  EXPECT_EQ(AskGet("/f/a.txt").body, "one");
  const std::string etag = AskGet("/f/a.txt").Get("ETag");
  Make("a.txt", "two", 1'000'000'001);
  EXPECT_EQ(AskGet("/f/a.txt", "If-None-Match: " + etag + "\r\n").body, "two");
  Make("b.txt", "three");
  std::filesystem::rename(root_ + "/b.txt", root_ + "/a.txt");
  EXPECT_EQ(AskGet("/f/a.txt").body, "three");
  std::filesystem::remove(root_ + "/a.txt");
  EXPECT_EQ(AskGet("/f/a.txt").status(), 404);
  Make("a.txt", "four");
  EXPECT_EQ(AskGet("/f/a.txt").body, "four");
}

GREENLET_TEST_F(StaticFilesTest, ARootThatIsExchangedIsSeenAtOnce) {
  std::filesystem::create_directories(top_ + "/v1");
  std::filesystem::create_directories(top_ + "/v2");
  std::ofstream(top_ + "/v1/a") << "1";
  std::ofstream(top_ + "/v2/a") << "2";
  const std::string link = top_ + "/current";
  root_ = link;
  StartFiles();
  EXPECT_EQ(AskGet("/f/a").status(), 404);
  std::filesystem::create_symlink("v1", link);
  EXPECT_EQ(AskGet("/f/a").body, "1");
  std::filesystem::create_symlink("v2", link + ".new");
  std::filesystem::rename(link + ".new", link);
  EXPECT_EQ(AskGet("/f/a").body, "2");
  std::filesystem::remove(link);
  EXPECT_EQ(AskGet("/f/a").status(), 404);
}

GREENLET_TEST_F(StaticFilesTest, OutOfDescriptorsAFileHasNotDisappeared) {
  Make("a.txt", "here");
  StartFiles();
  EXPECT_EQ(AskGet("/f/a.txt").body, "here");
  std::vector<int> taken;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few = {64, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  for (int fd; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
  const int status = AskGet("/f/a.txt").status();
  for (const int fd : taken) close(fd);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(status, 503);
  EXPECT_EQ(AskGet("/f/a.txt").body, "here");
}

GREENLET_TEST_F(StaticFilesTest, NothingOutsideIsServed) {
  Make("a.txt", "inside");
  Make("sub/b.txt", "inside");
  std::ofstream(top_ + "/outside") << "outside";
  std::filesystem::create_symlink("../outside", root_ + "/out");
  std::filesystem::create_symlink(top_ + "/outside", root_ + "/absolute");
  std::filesystem::create_symlink("..", root_ + "/up");
  std::filesystem::create_symlink("a.txt", root_ + "/in");
  std::filesystem::create_symlink("/proc/self/cwd", root_ + "/magic");
  ASSERT_EQ(mkfifo((root_ + "/fifo").c_str(), 0600), 0);
  Make(".secret", "s");
  Make("sub/.git/config", "s");
  StartFiles();
  // Twice: by the pool, and from what the kernel then has in memory.
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(AskGet("/f/in").body, "inside");
    for (const char* bad :
         {"/f/out", "/f/absolute", "/f/up/outside", "/f/..%2foutside", "/f/../outside",
          "/f/sub/../../outside", "/f/sub/..", "/f/magic", "/f/magic/x", "/f/fifo",
          "/f/.secret", "/f/sub/.git/config", "/f//etc/passwd", "/f/%2fetc/passwd",
          "/f/nothing", "/f/a.txt/", "/f/a.txt/x", "/f/"}) {
      EXPECT_EQ(AskGet(bad).status(), 404) << bad;
    }
  }
}

GREENLET_TEST_F(StaticFilesTest, OneRangeIsAPart) {
  Make("a.txt", "0123456789");
  StartFiles();
  const Answer answer = AskRange("bytes=2-4");
  EXPECT_EQ(answer.status(), 206);
  EXPECT_EQ(answer.Get("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(answer.body, "234");
  EXPECT_EQ(AskRange("bytes=0-1,2-3").body, "0123");
  EXPECT_EQ(AskRange("bytes=9-,20-30").body, "9");
  const Answer none = AskRange("bytes=10-");
  EXPECT_EQ(none.status(), 416);
  EXPECT_EQ(none.Get("Content-Range"), "bytes */10");
  // Range is of GET only.
  EXPECT_EQ(AskHead("/f/a.txt", "Range: bytes=2-4\r\n").status(), 200);
}

GREENLET_TEST_F(StaticFilesTest, SeveralRangesAreMultipart) {
  std::string content;
  for (int i = 0; content.size() < 300'000; ++i) absl::StrAppend(&content, i, " ");
  Make("a.txt", content);
  StartFiles();
  const Answer answer = AskRange("bytes=200000-299000,0-4,-3");
  EXPECT_EQ(answer.status(), 206);
  EXPECT_EQ(answer.Get("Content-Range"), "");
  EXPECT_EQ(answer.Get("Content-Length"), absl::StrCat(answer.body.size()));
  const std::string type = answer.Get("Content-Type");
  const std::string prefix = "multipart/byteranges; boundary=";
  ASSERT_TRUE(absl::StartsWith(type, prefix)) << type;
  const std::string boundary = type.substr(prefix.size());
  std::string expected;
  const size_t size = content.size();
  for (auto [first, last] : std::vector<std::pair<size_t, size_t>>{
           {200'000, 299'000}, {0, 4}, {size - 3, size - 1}}) {
    absl::StrAppend(
        &expected, expected.empty() ? "--" : "\r\n--", boundary,
        "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ", first,
        "-", last, "/", size, "\r\n\r\n", content.substr(first, last - first + 1));
  }
  absl::StrAppend(&expected, "\r\n--", boundary, "--\r\n");
  EXPECT_TRUE(answer.body == expected);
  // Another one each time.
  EXPECT_NE(AskRange("bytes=200000-299000,0-4").Get("Content-Type"), type);
}

GREENLET_TEST_F(StaticFilesTest, ARangeBombIsNoMoreThanTheFile) {
  Make("a.txt", std::string(100'000, 'x'));
  StartFiles({.root = {}, .max_ranges = 10});
  std::string overlapping = "bytes=0-";
  std::string many = "bytes=0-0";
  for (int i = 1; i < 10; ++i) {
    absl::StrAppend(&overlapping, ",", i, "-");
    absl::StrAppend(&many, ",", i * 1000, "-", i * 1000);
  }
  EXPECT_EQ(AskRange(overlapping).body.size(), 100'000u);
  EXPECT_LT(AskRange(many).body.size(), 3000u);
  const Answer answer = AskRange(many + ",50000-50000");
  EXPECT_EQ(answer.status(), 200);
  EXPECT_EQ(answer.body.size(), 100'000u);
}

GREENLET_TEST_F(StaticFilesTest, PreconditionsAreKept) {
  Make("a.txt", "0123456789");
  StartFiles();
  const Answer plain = AskGet("/f/a.txt");
  const std::string etag = plain.Get("ETag");
  EXPECT_EQ(plain.Get("Last-Modified"), FormatDate(1'000'000'000));
  const std::string then = FormatDate(1'000'000'000);
  const std::string before = FormatDate(999'999'999);
  const auto status = [&](const std::string& fields) {
    return AskGet("/f/a.txt", fields).status();
  };
  EXPECT_EQ(status("If-Match: " + etag + "\r\n"), 200);
  EXPECT_EQ(status("If-Match: \"x\"\r\n"), 412);
  EXPECT_EQ(status("If-Unmodified-Since: " + then + "\r\n"), 200);
  EXPECT_EQ(status("If-Unmodified-Since: " + before + "\r\n"), 412);
  EXPECT_EQ(status("If-None-Match: W/" + etag + "\r\n"), 304);
  EXPECT_EQ(status("If-Modified-Since: " + then + "\r\n"), 304);
  EXPECT_EQ(status("If-Match: \"x\"\r\nIf-None-Match: " + etag + "\r\n"), 412);
  // They come before the range.
  EXPECT_EQ(AskRange("bytes=0-1", "If-Match: \"x\"\r\n").status(), 412);
  EXPECT_EQ(AskRange("bytes=0-1", "If-None-Match: " + etag + "\r\n").status(), 304);
  EXPECT_EQ(AskRange("bytes=0-1", "If-Range: " + etag + "\r\n").status(), 206);
  EXPECT_EQ(AskRange("bytes=0-1", "If-Range: W/" + etag + "\r\n").status(), 200);
  EXPECT_EQ(AskRange("bytes=0-1", "If-Range: " + then + "\r\n").status(), 206);
  EXPECT_EQ(AskRange("bytes=0-1", "If-Range: " + before + "\r\n").status(), 200);
}

GREENLET_TEST_F(StaticFilesTest, SiblingsThatWereCompressedAreSentToWhoTakesThem) {
  Make("a.js", "plain");
  Make("a.js.gz", "as gzip");
  Make("a.js.br", "as br");
  Make("b.js", "plain");
  Make("b.js.gz", "older", 999'999'999);
  StartFiles({.root = {}, .precompressed = {"br", "gzip"}});
  const auto ask = [&](const char* name, absl::string_view accept) {
    return AskGet(name, absl::StrCat("Accept-Encoding: ", accept, "\r\n"));
  };
  const Answer br = ask("/f/a.js", "gzip, br");
  EXPECT_EQ(br.body, "as br");
  EXPECT_EQ(br.Get("Content-Encoding"), "br");
  EXPECT_EQ(br.Get("Content-Type"), "text/javascript; charset=utf-8");
  EXPECT_EQ(br.Get("Vary"), "Accept-Encoding");
  const Answer gzip = ask("/f/a.js", "gzip, br;q=0.5");
  EXPECT_EQ(gzip.body, "as gzip");
  const Answer plain = ask("/f/a.js", "zstd");
  EXPECT_EQ(plain.body, "plain");
  EXPECT_EQ(plain.Get("Content-Encoding"), "");
  EXPECT_EQ(plain.Get("Vary"), "Accept-Encoding");
  // Each has a tag of its own.
  EXPECT_NE(br.Get("ETag"), gzip.Get("ETag"));
  EXPECT_NE(br.Get("ETag"), plain.Get("ETag"));
  EXPECT_EQ(AskGet("/f/a.js", absl::StrCat("Accept-Encoding: br\r\nIf-None-Match: ",
                                           br.Get("ETag"), "\r\n"))
                .status(),
            304);
  // One that is older than its file was made of something else.
  EXPECT_EQ(ask("/f/b.js", "gzip").body, "plain");
  // By its own name it is what it is.
  EXPECT_EQ(ask("/f/a.js.gz", "gzip").Get("Content-Type"), "application/gzip");
}

GREENLET_TEST_F(StaticFilesTest, WithoutTheOptionSiblingsAreNotLookedAt) {
  Make("a.js", "plain");
  Make("a.js.br", "as br");
  StartFiles();
  const Answer answer = AskGet("/f/a.js", "Accept-Encoding: br\r\n");
  EXPECT_EQ(answer.body, "plain");
  EXPECT_EQ(answer.Get("Vary"), "");
}

GREENLET_TEST_F(StaticFilesTest, CompressedOnTheWayATagIsWeakAndARangeIsNot) {
  Make("a.txt", std::string(50'000, 'x'));
  StartFiles({}, /*compress=*/true);
  const Answer answer = AskGet("/f/a.txt", "Accept-Encoding: gzip\r\n");
  EXPECT_EQ(answer.Get("Content-Encoding"), "gzip");
  const std::string etag = answer.Get("ETag");
  EXPECT_TRUE(absl::StartsWith(etag, "W/")) << etag;
  EXPECT_EQ(AskGet("/f/a.txt",
                   absl::StrCat("Accept-Encoding: gzip\r\nIf-None-Match: ", etag, "\r\n"))
                .status(),
            304);
  const Answer part = AskRange("bytes=0-9999", "Accept-Encoding: gzip\r\n");
  EXPECT_EQ(part.status(), 206);
  EXPECT_EQ(part.Get("Content-Encoding"), "");
  EXPECT_EQ(part.body.size(), 10'000u);
  // A part of what was sent compressed is not one of the file.
  EXPECT_EQ(AskRange("bytes=0-9", absl::StrCat("If-Range: ", etag, "\r\n")).status(),
            200);
}

GREENLET_TEST_F(StaticFilesTest, AFolderIsListedOnlyIfThatIsWanted) {
  Make("sub/b&<i>\".txt", "b");
  Make("sub/a b.txt", "a");
  Make("sub/.hidden", "h");
  Make("sub/deeper/c", "c");
  Make("with/index.html", "index");
  StartFiles();
  EXPECT_EQ(AskGet("/f/sub/").status(), 404);
  TearDown();
  SetUp();
  Make("sub/b&<i>\".txt", "b");
  Make("sub/a b.txt", "a");
  Make("sub/javascript:x", "a");
  Make("sub/.hidden", "h");
  Make("sub/deeper/c", "c");
  Make("with/index.html", "index");
  ASSERT_EQ(mkfifo((root_ + "/sub/fifo").c_str(), 0600), 0);
  StartFiles({.root = {}, .listing = true});
  const Answer answer = AskGet("/f/sub/");
  EXPECT_EQ(answer.Get("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(answer.body,
            "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>/f/sub/</title>\n"
            "<h1>/f/sub/</h1>\n<ul>\n<li><a href=\"../\">../</a>\n"
            "<li><a href=\"./a%20b.txt\">a b.txt</a>\n"
            "<li><a href=\"./b%26%3Ci%3E%22.txt\">b&amp;&lt;i&gt;&quot;.txt</a>\n"
            "<li><a href=\"./deeper/\">deeper/</a>\n"
            "<li><a href=\"./javascript%3Ax\">javascript:x</a>\n</ul>\n");
  EXPECT_EQ(AskGet("/f/sub").Get("Location"), "/f/sub/");
  EXPECT_EQ(AskGet("/f/with/").body, "index");
  EXPECT_EQ(AskGet("/f/nothing/").status(), 404);
  const Answer top = AskGet("/f/");
  EXPECT_EQ(top.status(), 200);
  EXPECT_FALSE(absl::StrContains(top.body, "../")) << top.body;
}

}  // namespace
}  // namespace grove::http
