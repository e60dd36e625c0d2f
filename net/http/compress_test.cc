#include "grove/net/http/compress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/net/http/event_stream.h"
#include "grove/net/http/http_test_util.h"
#include "grove/net/http/internal/content_coder.h"
#include "grove/sync/event.h"

namespace grove::http {
namespace {

using http_internal::ContentDecoder;
using http_internal::ContentEncoder;
using http_internal::MakeContentDecoder;
using http_internal::MakeContentEncoder;
using net::MemoryStream;

// Text that can be compressed, but not to nothing.
std::string Text(size_t size) {
  std::string text;
  uint32_t random = 1;
  while (text.size() < size) {
    random = random * 1103515245 + 12345;
    absl::StrAppend(&text, "line ", random >> 24, " of the text\n");
  }
  text.resize(size);
  return text;
}

// What has come so far, if the coding is not at its end.
std::string Decode(absl::string_view coding, absl::string_view data,
                   bool* whole = nullptr) {
  const std::unique_ptr<ContentDecoder> decoder = MakeContentDecoder(coding);
  std::string text;
  char buffer[1000];
  for (;;) {
    const absl::StatusOr<size_t> n = decoder->Decode(&data, absl::MakeSpan(buffer));
    if (!n.ok()) return "<" + std::string(n.status().message()) + ">";
    text.append(buffer, *n);
    if (*n == 0) break;
  }
  if (whole != nullptr) *whole = decoder->ended() && data.empty();
  return text;
}

std::string Encode(absl::string_view coding, absl::string_view data) {
  std::string out;
  EXPECT_TRUE(MakeContentEncoder(coding, 4, std::nullopt)
                  ->Encode(data, ContentEncoder::Step::kEnd, &out)
                  .ok());
  return out;
}

const char* const kCodings[] = {"br", "gzip", "deflate"};

class CompressTest : public HttpTest {
 protected:
  void StartWith(Handler handler, CompressOptions options = {},
                 HttpServerOptions server = {}) {
    Start(Compress(std::move(options))(std::move(handler)), std::move(server));
  }
  Answer AskFor(absl::string_view codings, absl::string_view target = "/") {
    return AskGet(target, absl::StrCat("Accept-Encoding: ", codings, "\r\n"));
  }
  static Handler Plain(std::string text) {
    return [text = std::move(text)](Request&, ResponseWriter& response) {
      response.headers().Set("ETag", "\"1\"");
      response.Send(200, "text/plain", text).IgnoreError();
    };
  }
};

GREENLET_TEST_F(CompressTest, AWholeBodyHasALength) {
  const std::string text = Text(20'000);
  StartWith(Plain(text));
  for (const char* coding : kCodings) {
    const Answer answer = AskFor(coding);
    EXPECT_EQ(answer.Get("Content-Encoding"), coding);
    EXPECT_EQ(answer.Get("Content-Length"), absl::StrCat(answer.body.size()));
    EXPECT_LT(answer.body.size(), text.size() / 3);
    EXPECT_EQ(answer.Get("Vary"), "Accept-Encoding");
    EXPECT_EQ(answer.Get("ETag"), "W/\"1\"");
    bool whole = false;
    EXPECT_TRUE(Decode(coding, answer.body, &whole) == text) << coding;
    EXPECT_TRUE(whole) << coding;
  }
}

GREENLET_TEST_F(CompressTest, WhoDoesNotAskGetItPlain) {
  const std::string text = Text(20'000);
  StartWith(Plain(text));
  for (const Answer& answer : {AskGet("/"), AskFor("zstd"), AskFor("gzip;q=0"),
                               AskFor("identity, gzip;q=0.1")}) {
    EXPECT_EQ(answer.Get("Content-Encoding"), "");
    EXPECT_EQ(answer.Get("ETag"), "\"1\"");
    // A cache must know that others get something else.
    EXPECT_EQ(answer.Get("Vary"), "Accept-Encoding");
    EXPECT_TRUE(answer.body == text);
  }
}

GREENLET_TEST_F(CompressTest, PiecesOfAnyLengthArriveWhole) {
  const std::string text = Text(1 << 20);
  StartWith([&](Request& request, ResponseWriter& response) {
    response.headers().Set("Content-Type", "application/json; charset=utf-8");
    if (request.path() == "/whole") return response.Send(text).IgnoreError();
    if (request.path() == "/promised") {
      response.headers().Set("Content-Length", absl::StrCat(text.size()));
    }
    size_t size = 1;
    for (size_t at = 0; at < text.size(); at += size, size = size * 3 % 40'000 + 1) {
      EXPECT_TRUE(response.Write(absl::string_view(text).substr(at, size)).ok());
    }
  });
  for (const char* coding : kCodings) {
    for (const char* target : {"/whole", "/pieces", "/promised"}) {
      const Answer answer = AskFor(coding, target);
      EXPECT_TRUE(answer.chunked) << target;
      EXPECT_TRUE(answer.whole) << target;
      EXPECT_EQ(answer.Get("Content-Length"), "");
      bool whole = false;
      EXPECT_TRUE(Decode(coding, answer.body, &whole) == text) << coding << target;
      EXPECT_TRUE(whole);
    }
  }
}

GREENLET_TEST_F(CompressTest, WhatIsFlushedComesOutAtOnce) {
  for (const char* coding : kCodings) {
    Event go_on;
    StartWith([&](Request&, ResponseWriter& response) {
      response.headers().Set("Content-Type", "text/plain");
      EXPECT_TRUE(response.Write("first").ok());
      EXPECT_TRUE(response.Flush().ok());
      EXPECT_TRUE(response.Flush().ok());
      go_on.Wait();
      EXPECT_TRUE(response.Write("second").ok());
    });
    MemoryStream client = Connect();
    Write(client, Get("/", absl::StrCat("Connection: close\r\nAccept-Encoding: ", coding,
                                        "\r\n")));
    Sleep(absl::Seconds(1));
    std::string all(client.unread(), 0);
    ASSERT_TRUE(client.ReadExactly(absl::MakeSpan(all)).ok());
    EXPECT_EQ(Decode(coding, Parse(all).body), "first") << coding;
    go_on.Set();
    all += ReadToEnd(client);
    bool whole = false;
    EXPECT_EQ(Decode(coding, Parse(all).body, &whole), "firstsecond");
    EXPECT_TRUE(whole);
    TearDown();
  }
}

GREENLET_TEST_F(CompressTest, EventsAreNotUnlessTheyAreNamedAndThenStayTimely) {
  const Handler handler = [](Request& request, ResponseWriter& response) {
    ServeEvents(request, response, [](EventStream& events) {
      for (int i = 0; i < 3; ++i) {
        if (i > 0) Sleep(absl::Seconds(1));
        EXPECT_TRUE(events.Send({.data = absl::StrCat(i)}).ok());
      }
    }).IgnoreError();
  };
  StartWith(handler);
  EXPECT_EQ(AskFor("gzip").body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  TearDown();
  StartWith(handler, {.types = {"text/"}});
  MemoryStream client = Connect();
  Write(client, Get("/", "Connection: close\r\nAccept-Encoding: gzip\r\n"));
  std::string all;
  for (const char* expected :
       {"data: 0\n\n", "data: 0\n\ndata: 1\n\n", "data: 0\n\ndata: 1\n\ndata: 2\n\n"}) {
    Sleep(absl::Milliseconds(500));
    std::string more(client.unread(), 0);
    ASSERT_TRUE(client.ReadExactly(absl::MakeSpan(more)).ok());
    all += more;
    EXPECT_EQ(Decode("gzip", Parse(all).body), expected);
    Sleep(absl::Milliseconds(500));
  }
}

GREENLET_TEST_F(CompressTest, WhatShouldNotBeIsNotCompressed) {
  const std::string text = Text(5000);
  StartWith([&](Request& request, ResponseWriter& response) {
    HeaderMap& headers = response.headers();
    headers.Set("Content-Type", "text/html");
    const absl::string_view path = request.path();
    if (path == "/small") return response.Send("small").IgnoreError();
    if (path == "/empty") return;
    if (path == "/image") headers.Set("Content-Type", "image/png");
    if (path == "/none") headers.Remove("Content-Type");
    if (path == "/coded") headers.Set("Content-Encoding", "zstd");
    if (path == "/no-transform") headers.Set("Cache-Control", "private, no-transform");
    if (path == "/206") {
      response.set_status(206);
      headers.Set("Content-Range", "bytes 0-4999/9999");
    }
    response.Send(text).IgnoreError();
  });
  for (const char* path :
       {"/small", "/empty", "/image", "/none", "/coded", "/no-transform", "/206"}) {
    const Answer answer = AskFor("gzip", path);
    EXPECT_NE(answer.Get("Content-Encoding"), "gzip") << path;
    EXPECT_EQ(answer.Get("Vary"), "") << path;
    EXPECT_EQ(answer.Get("Content-Length"), absl::StrCat(answer.body.size())) << path;
  }
  EXPECT_EQ(AskFor("gzip", "/other").Get("Content-Encoding"), "gzip");
}

GREENLET_TEST_F(CompressTest, WithoutABodyThereIsNothingToCompress) {
  StartWith([](Request& request, ResponseWriter& response) {
    response.headers().Set("Content-Type", "text/html");
    response.headers().Set("ETag", "\"1\"");
    response.set_status(request.path() == "/204" ? 204 : 304);
  });
  for (const char* path : {"/204", "/304"}) {
    const Answer answer = AskFor("gzip", path);
    EXPECT_EQ(answer.Get("Content-Encoding"), "");
    EXPECT_EQ(answer.body, "");
  }
}

GREENLET_TEST_F(CompressTest, HeadHasTheFieldsOfGet) {
  StartWith(Plain(Text(5000)));
  MemoryStream client = Connect();
  const std::string ask = "HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
  Write(client, ask);
  const Answer head = Parse(ReadThrough(client, "\r\n\r\n"));
  EXPECT_EQ(head.status(), 200);
  EXPECT_EQ(head.Get("Content-Encoding"), "gzip");
  EXPECT_EQ(head.Get("ETag"), "W/\"1\"");
  EXPECT_EQ(head.Get("Vary"), "Accept-Encoding");
  EXPECT_EQ(head.Get("Content-Length"), "");
  // Nothing followed, and the connection goes on.
  Write(client, ask);
  EXPECT_EQ(Parse(ReadThrough(client, "\r\n\r\n")).status(), 200);
}

GREENLET_TEST_F(CompressTest, WithoutIdentityAllIsCompressedOr406) {
  int calls = 0;
  StartWith([&](Request&, ResponseWriter& response) {
    ++calls;
    response.Send(200, "image/png", "small").IgnoreError();
  });
  const Answer answer = AskFor("gzip, identity;q=0");
  EXPECT_EQ(Decode("gzip", answer.body), "small");
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(AskFor("zstd, *;q=0").status(), 406);
  EXPECT_EQ(AskFor("*;q=0").status(), 406);
  EXPECT_EQ(calls, 1);
}

// What is not in the page cache is read by a pool, which is of the real world.
class CompressFilesTest : public CompressTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(CompressFilesTest, FilesAreCompressedToo) {
  const std::string text = Text(300'000);
  const std::string path = std::string(getenv("TEST_TMPDIR")) + "/text";
  const int fd = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  StartWith([&](Request&, ResponseWriter& response) {
    response.headers().Set("Content-Type", "text/plain");
    response.headers().Set("Accept-Ranges", "bytes");
    EXPECT_TRUE(response.SendFile(fd, 0, text.size()).ok());
  });
  const Answer answer = AskFor("gzip");
  EXPECT_TRUE(Decode("gzip", answer.body) == text);
  EXPECT_EQ(answer.Get("Accept-Ranges"), "");
  EXPECT_TRUE(AskGet("/").body == text);
  EXPECT_EQ(AskHead("/", "Accept-Encoding: gzip\r\n").Get("Content-Encoding"), "gzip");
  close(fd);
}

GREENLET_TEST_F(CompressTest, AClientOfHttp10GetsItToo) {
  const std::string text = Text(200'000);
  StartWith(Plain(text));
  const Answer answer = Ask("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
  EXPECT_FALSE(answer.chunked);
  EXPECT_TRUE(Decode("gzip", answer.body) == text);
}

GREENLET_TEST_F(CompressTest, ABodyThatIsNotAsLongAsPromisedIsCut) {
  StartWith([](Request& request, ResponseWriter& response) {
    response.headers().Set("Content-Type", "text/plain");
    response.headers().Set("Content-Length", "9999");
    EXPECT_TRUE(response.Write("less").ok());
    EXPECT_TRUE(response.Flush().ok());
    if (request.path() == "/more") {
      EXPECT_FALSE(response.Write(std::string(10'000, 'x')).ok());
    }
  });
  EXPECT_FALSE(AskFor("gzip", "/less").whole);
  EXPECT_FALSE(AskFor("gzip", "/more").whole);
}

GREENLET_TEST_F(CompressTest, MemoryIsWhatTheHeaderSays) {
  const size_t before = ContentCoderMemory();
  for (const char* coding : kCodings) {
    const size_t most = coding == absl::string_view("br") ? 2 << 20 : 320 << 10;
    const auto encoder =
        MakeContentEncoder(coding, coding == absl::string_view("br") ? 4 : 5, {});
    std::string out;
    const std::string text = Text(4 << 20);
    for (size_t at = 0; at < text.size(); at += 16 << 10) {
      out.clear();
      ASSERT_TRUE(encoder
                      ->Encode(absl::string_view(text).substr(at, 16 << 10),
                               ContentEncoder::Step::kMore, &out)
                      .ok());
      ASSERT_LE(ContentCoderMemory() - before, most) << coding;
    }
    EXPECT_GT(ContentCoderMemory(), before);
    const auto small = MakeContentEncoder(coding, 4, 2000);
    const size_t both = ContentCoderMemory();
    EXPECT_LT(both - before, 2 * most);
  }
  EXPECT_EQ(ContentCoderMemory(), before);
}

GREENLET_TEST_F(CompressTest, NoCoderIsLeftBehind) {
  const std::string text = Text(1 << 20);
  StartWith(
      [&](Request& request, ResponseWriter& response) {
        response.headers().Set("Content-Type", "text/plain");
        response.Write(text).IgnoreError();
        if (request.path() == "/throws") throw 7;
      },
      {}, {.on_exception = [](const Request&, std::exception_ptr) {}});
  AskFor("br");
  AskFor("gzip", "/throws");
  MemoryStream client = Connect();
  Write(client, Get("/", "Accept-Encoding: deflate\r\n"));
  client.Abort();
  server_->Stop(absl::Minutes(5));
  EXPECT_EQ(ContentCoderMemory(), 0u);
}

GREENLET_TEST_F(CompressTest, ALargeBodyLetsOthersRun) {
  const std::string text = Text(4 << 20);
  StartWith(Plain(text));
  MemoryStream client = Connect();
  Write(client, Get("/", "Connection: close\r\nAccept-Encoding: gzip\r\n"));
  bool done = false;
  int turns = 0;
  const Greenlet<> other = Spawn([&] {
    while (!done) {
      Yield();
      ++turns;
    }
  });
  EXPECT_TRUE(Decode("gzip", Parse(ReadToEnd(client)).body) == text);
  done = true;
  other.Join();
  EXPECT_GE(turns, 100);
}

GREENLET_TEST_F(CompressTest, AResponseThatWasInterruptedIsNotTakenForWhole) {
  const std::string text = Text(4 << 20);
  StartWith([&](Request&, ResponseWriter& response) {
    response.headers().Set("Content-Type", "text/plain");
    EXPECT_TRUE(response.Write(text.substr(0, 100'000)).ok());
    Timeout timeout(absl::ZeroDuration());
    try {
      // Expires where it yields, or at the latest here.
      response.Write(text).IgnoreError();
      Sleep(absl::Seconds(1));
    } catch (const TimeoutExpired&) {
    }
    response.Write("more").IgnoreError();
  });
  const Answer answer = AskFor("gzip");
  bool whole = false;
  const std::string decoded = Decode("gzip", answer.body, &whole);
  // Either all of it was encoded before the timeout was seen, or it is cut.
  if (answer.whole) {
    EXPECT_TRUE(whole);
    EXPECT_EQ(decoded.size(), 100'000 + text.size() + 4);
  } else {
    EXPECT_FALSE(whole);
  }
}

GREENLET_TEST_F(CompressTest, ATimeoutWithinTheEndCutsTheConnection) {
  StartWith(
      [](Request& request, ResponseWriter& response) {
        response.headers().Set("Content-Type", "text/plain");
        // Each 16 KiB may end by the timeout: within Write(), Send() or Finish().
        Timeout timeout(absl::ZeroDuration());
        if (request.path() == "/send") {
          response.Send(Text(60'000)).IgnoreError();
        } else {
          response.Write(Text(4 << 20)).IgnoreError();
          response.Finish().IgnoreError();
        }
        Sleep(absl::Seconds(1));
      },
      {}, {.on_exception = [](const Request&, std::exception_ptr) {}});
  for (const char* path : {"/send", "/pieces"}) {
    MemoryStream client = Connect();
    const std::string ask = Get(path, "Accept-Encoding: gzip\r\n");
    Write(client, ask + ask);
    const std::string all = ReadToEnd(client);
    // Either whole, or the connection ends within it: no second response behind a half.
    const size_t second = all.find("HTTP/1.1", 1);
    const Answer first = Parse(all.substr(0, second));
    if (second != all.npos) {
      bool whole = false;
      Decode("gzip", first.body, &whole);
      EXPECT_TRUE(whole) << path;
    }
  }
}

// --- requests ---------------------------------------------------------------------

class DecompressTest : public HttpTest {
 protected:
  void StartEcho(uint64_t limit = 1 << 20, HttpServerOptions options = {}) {
    Start(Decompress(limit)([this](Request& request, ResponseWriter& response) {
            const absl::StatusOr<std::string> body = request.body().ReadAll(10 << 20);
            status_ = body.status();
            if (body.ok()) response.Send(*body).IgnoreError();
          }),
          options);
  }
  Answer Put(absl::string_view coding, absl::string_view body) {
    return Ask(Post(
        body, absl::StrCat("Connection: close\r\nContent-Encoding: ", coding, "\r\n")));
  }
  absl::Status status_;
};

GREENLET_TEST_F(DecompressTest, AHandlerReadsWhatWasMeant) {
  StartEcho();
  const std::string text = Text(500'000);
  for (const char* coding : kCodings) {
    EXPECT_TRUE(Put(coding, Encode(coding, text)).body == text) << coding;
    EXPECT_EQ(Put(coding, Encode(coding, "")).body, "") << coding;
  }
  EXPECT_TRUE(Put("X-GZip", Encode("gzip", text)).body == text);
  EXPECT_EQ(Put("identity", "plain").body, "plain");
  EXPECT_EQ(Ask(Post("plain", "Connection: close\r\n")).body, "plain");
}

// An interrupt that the handler catches loses nothing of what it reads on.
GREENLET_TEST_F(DecompressTest, AReadThatIsInterruptedLosesNothing) {
  std::string read;
  Start(Decompress(1 << 20)([&](Request& request, ResponseWriter& response) {
    char buffer[7];
    for (;;) {
      try {
        Timeout timeout(absl::Microseconds(1));
        for (;;) {
          const absl::StatusOr<size_t> n = request.body().Read(absl::MakeSpan(buffer));
          if (!n.ok()) return;
          if (*n == 0) {
            response.Send(read).IgnoreError();
            return;
          }
          read.append(buffer, *n);
        }
      } catch (const TimeoutExpired&) {
      }
    }
  }));
  const std::string text = Text(20'000);
  bool over = false;
  // Somebody else's turns, in which time passes.
  const Greenlet<> other = Spawn([&] {
    while (!over) Sleep(absl::Microseconds(1));
  });
  EXPECT_TRUE(Put("gzip", Encode("gzip", text)).body == text);
  over = true;
  other.Join();
}

GREENLET_TEST_F(DecompressTest, ABombIsCutOff) {
  StartEcho(1 << 20);
  const std::string zeros(100 << 20, '\0');
  for (const char* coding : kCodings) {
    const std::string bomb = Encode(coding, zeros);
    EXPECT_LT(bomb.size(), 200'000u);
    EXPECT_EQ(Put(coding, bomb).status(), 413) << coding;
    EXPECT_TRUE(absl::IsResourceExhausted(status_)) << status_;
  }
}

GREENLET_TEST_F(DecompressTest, WhatIsMalformedIs400) {
  StartEcho();
  const std::string text = Text(1000);
  for (const char* coding : kCodings) {
    const std::string good = Encode(coding, text);
    EXPECT_EQ(Put(coding, good.substr(0, good.size() - 3)).status(), 400) << coding;
    EXPECT_TRUE(absl::IsInvalidArgument(status_)) << status_;
    EXPECT_EQ(Put(coding, "\xff\xfe nonsense").status(), 400) << coding;
    EXPECT_EQ(Put(coding, good + "more").status(), 400) << coding;
  }
}

GREENLET_TEST_F(DecompressTest, OtherCodingsAre415) {
  StartEcho();
  const Answer answer = Put("zstd", "x");
  EXPECT_EQ(answer.status(), 415);
  EXPECT_EQ(answer.Get("Accept-Encoding"), "br, gzip, deflate");
  EXPECT_EQ(Put("gzip, gzip", "x").status(), 415);
}

GREENLET_TEST_F(DecompressTest, WithoutItBodiesArePassedOn) {
  Start([](Request& request, ResponseWriter& response) {
    response.Send(*request.body().ReadAll(1000)).IgnoreError();
  });
  const std::string coded = Encode("gzip", "text");
  EXPECT_TRUE(Put("gzip", coded).body == coded);
}

}  // namespace
}  // namespace grove::http
