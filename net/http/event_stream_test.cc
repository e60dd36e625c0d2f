#include "grove/net/http/event_stream.h"

#include <string>
#include <vector>

#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/clock.h"
#include "grove/net/http/http_test_util.h"
#include "grove/net/tcp.h"
#include "grove/sync/event.h"
#include "grove/sync/queue.h"

namespace grove::http {
namespace {

using net::MemoryStream;

class EventStreamTest : public HttpTest {
 protected:
  // What one event is in bytes.
  std::string Sent(const ServerSentEvent& event) {
    Start([&](Request& request, ResponseWriter& response) {
      EventStream events(request, response);
      status_ = events.Send(event);
    });
    return AskGet("/").body;
  }

  void ServeForever(EventStreamOptions options = {}) {
    Start([this, options](Request& request, ResponseWriter& response) {
      end_ = ServeEvents(
          request, response,
          [this](EventStream& events) {
            struct Mark {
              bool* unwound;
              ~Mark() { *unwound = true; }
            } mark{&unwound_};
            EXPECT_TRUE(events.Send({.data = "first"}).ok());
            Sleep(absl::InfiniteDuration());
          },
          options);
      ended_at_ = Elapsed();
      ended_.Set();
    });
  }
  absl::Duration Elapsed() { return absl::Nanoseconds(ThisHub().Now() - begin_); }
  void SetUp() override { begin_ = ThisHub().Now(); }

  MonotonicNanos begin_ = 0;
  absl::Status status_;
  absl::Status end_ = absl::UnknownError("has not ended");
  bool unwound_ = false;
  absl::Duration ended_at_;
  Event ended_;
};

GREENLET_TEST_F(EventStreamTest, AnEventIsFieldsAndAnEmptyLine) {
  EXPECT_EQ(Sent({.data = "hello"}), "data: hello\n\n");
  EXPECT_EQ(Sent({.data = "d", .type = "t", .id = "7", .retry = absl::Seconds(2)}),
            "event: t\nid: 7\nretry: 2000\ndata: d\n\n");
  EXPECT_EQ(Sent({}), "data: \n\n");
  // Forgets the last id.
  EXPECT_EQ(Sent({.data = "d", .id = ""}), "id: \ndata: d\n\n");
  // The client takes one space off.
  EXPECT_EQ(Sent({.data = " d"}), "data:  d\n\n");
}

GREENLET_TEST_F(EventStreamTest, DataOfManyLinesIsManyFields) {
  EXPECT_EQ(Sent({.data = "a\nb\r\nc\rd"}), "data: a\ndata: b\ndata: c\ndata: d\n\n");
  EXPECT_EQ(Sent({.data = "a\n"}), "data: a\ndata: \n\n");
  EXPECT_EQ(Sent({.data = "\n\r"}), "data: \ndata: \ndata: \n\n");
  // What would be an event of its own.
  EXPECT_EQ(Sent({.data = "a\n\nevent: b\ndata: c"}),
            "data: a\ndata: \ndata: event: b\ndata: data: c\n\n");
}

GREENLET_TEST_F(EventStreamTest, NobodyInjectsALine) {
  using absl::string_view;
  for (const ServerSentEvent& bad : std::vector<ServerSentEvent>{
           {.type = "a\nb"},
           {.type = "a\rb"},
           {.id = "a\nb"},
           {.id = "a\r"},
           {.id = string_view("a\0b", 3)},
           {.retry = absl::Seconds(-1)},
           {.retry = absl::InfiniteDuration()},
       }) {
    EXPECT_EQ(Sent(bad), "");
    EXPECT_TRUE(absl::IsInvalidArgument(status_)) << status_;
  }
}

GREENLET_TEST_F(EventStreamTest, ACommentIsReadOver) {
  Start([](Request& request, ResponseWriter& response) {
    EventStream events(request, response);
    EXPECT_TRUE(events.Comment("").ok());
    EXPECT_TRUE(events.Comment("a\nb").ok());
  });
  EXPECT_EQ(AskGet("/").body, ": \n\n: a\n: b\n\n");
}

GREENLET_TEST_F(EventStreamTest, TheHeadSaysWhatItIs) {
  Start([](Request& request, ResponseWriter& response) {
    if (request.path() == "/own") response.headers().Set("Cache-Control", "private");
    EXPECT_TRUE(ServeEvents(request, response, [](EventStream& events) {
                  EXPECT_TRUE(events.Send({.data = "x"}).ok());
                }).ok());
  });
  const Answer answer = AskGet("/");
  EXPECT_TRUE(answer.Has("Content-Type: text/event-stream")) << answer.head;
  EXPECT_TRUE(answer.Has("Cache-Control: no-store")) << answer.head;
  EXPECT_TRUE(answer.Has("X-Accel-Buffering: no")) << answer.head;
  EXPECT_TRUE(answer.chunked);
  EXPECT_TRUE(answer.whole);
  EXPECT_EQ(answer.body, "data: x\n\n");
  EXPECT_EQ(AskGet("/own").Get("Cache-Control"), "private");
  const Answer head = AskHead("/");
  EXPECT_TRUE(head.Has("Content-Type: text/event-stream")) << head.head;
  EXPECT_EQ(head.body, "");
}

GREENLET_TEST_F(EventStreamTest, TheLastEventIdIsTheClients) {
  Start([](Request& request, ResponseWriter& response) {
    EventStream events(request, response);
    EXPECT_TRUE(events.Send({.data = events.last_event_id().value_or("none")}).ok());
  });
  EXPECT_EQ(AskGet("/").body, "data: none\n\n");
  EXPECT_EQ(AskGet("/", "Last-Event-ID: 42\r\n").body, "data: 42\n\n");
}

GREENLET_TEST_F(EventStreamTest, AnEventGoesOutAtOnce) {
  Queue<std::string> queue;
  Start([&](Request& request, ResponseWriter& response) {
    ServeEvents(request, response, [&](EventStream& events) {
      for (int i = 0; i < 3; ++i) {
        const std::string text = *queue.Get();
        EXPECT_TRUE(events.Send({.data = text}).ok());
      }
    }).IgnoreError();
  });
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "\r\n\r\n");
  for (const char* text : {"one", "two", "six"}) {
    ASSERT_TRUE(queue.Put(text).ok());
    EXPECT_EQ(ReadThrough(client, "\n\n\r\n"),
              absl::StrCat("b\r\ndata: ", text, "\n\n\r\n"));
  }
  // The connection goes on.
  EXPECT_EQ(ReadThrough(client, "0\r\n\r\n"), "0\r\n\r\n");
  Write(client, Get("/"));
  EXPECT_TRUE(absl::StrContains(ReadThrough(client, "\r\n\r\n"), "text/event-stream"));
  server_->Stop();
}

GREENLET_TEST_F(EventStreamTest, EndsWhenTheClientGoesThoughNothingIsSent) {
  ServeForever({.keepalive = absl::InfiniteDuration()});
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  Sleep(absl::Seconds(30));
  EXPECT_FALSE(unwound_);
  client.Close();
  ended_.Wait();
  EXPECT_TRUE(unwound_);
  EXPECT_TRUE(absl::IsUnavailable(end_)) << end_;
  EXPECT_LT(ended_at_, absl::Seconds(31));
}

GREENLET_TEST_F(EventStreamTest, EndsWhenTheConnectionIsReset) {
  ServeForever();
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  client.Abort();
  ended_.Wait();
  EXPECT_TRUE(unwound_);
  EXPECT_TRUE(absl::IsUnavailable(end_)) << end_;
}

GREENLET_TEST_F(EventStreamTest, ADrainEndsItAndTheResponseIsWhole) {
  ServeForever();
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  EXPECT_EQ(server_->Stop(absl::Hours(1)).cut, 0u);
  EXPECT_LT(Elapsed(), absl::Minutes(1));
  EXPECT_TRUE(unwound_);
  EXPECT_TRUE(absl::IsCancelled(end_)) << end_;
  EXPECT_EQ(ReadToEnd(client), "0\r\n\r\n");
}

GREENLET_TEST_F(EventStreamTest, AStopWithoutGraceEndsTheSourceToo) {
  ServeForever();
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  server_->Stop();
  EXPECT_TRUE(unwound_);
}

GREENLET_TEST_F(EventStreamTest, ASilentSourceIsKeptAliveByComments) {
  ServeForever({.keepalive = absl::Seconds(15)});
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  for (int i = 0; i < 100; ++i) {
    const absl::Duration before = Elapsed();
    EXPECT_EQ(ReadThrough(client, "\n\n\r\n"), "4\r\n: \n\n\r\n");
    EXPECT_LE(Elapsed() - before, absl::Seconds(31));
  }
  EXPECT_FALSE(unwound_);
}

GREENLET_TEST_F(EventStreamTest, WhoDoesNotReadIsCut) {
  absl::Status sent;
  Start(
      [&](Request& request, ResponseWriter& response) {
        end_ = ServeEvents(request, response, [&](EventStream& events) {
          const std::string text(1000, 'x');
          while ((sent = events.Send({.data = text})).ok()) {
          }
        });
        ended_.Set();
      },
      {}, {.capacity = 10'000});
  MemoryStream client = Connect();
  Write(client, Get("/"));
  EXPECT_TRUE(ended_.Wait(absl::Minutes(10)));
  EXPECT_EQ(server_->connections().active(), 0u);
}

GREENLET_TEST_F(EventStreamTest, RequestsBehindItAreAnsweredAfterIt) {
  Event go_on;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/next") return response.Send("next").IgnoreError();
    EXPECT_TRUE(ServeEvents(request, response, [&](EventStream& events) {
                  EXPECT_TRUE(events.Send({.data = "a"}).ok());
                  go_on.Wait();
                }).ok());
  });
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "a\n\n\r\n");
  Write(client, Get("/next"));
  Sleep(absl::Seconds(1));
  go_on.Set();
  EXPECT_EQ(ReadThrough(client, "0\r\n\r\n"), "0\r\n\r\n");
  EXPECT_TRUE(absl::EndsWith(ReadThrough(client, "next"), "\r\n\r\nnext"));
}

GREENLET_TEST_F(EventStreamTest, WhoSendsWithoutEndFillsNoMemory) {
  ServeForever({.keepalive = absl::Seconds(15)});
  MemoryStream client = Connect();
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  // More than is kept: it stays where it is.
  const std::string flood(4 << 20, 'x');
  const Greenlet<> writer = Spawn([&] { client.Write(flood).IgnoreError(); });
  Sleep(absl::Seconds(1));
  EXPECT_GE(client.activity().bytes_written, uint64_t{1} << 20);
  EXPECT_LE(client.activity().bytes_written, (uint64_t{1} << 20) + (64 << 10));
  EXPECT_FALSE(unwound_);
  client.Abort();
  writer.Join();
  // Found by a comment that cannot be sent.
  EXPECT_TRUE(ended_.Wait(absl::Minutes(1)));
  EXPECT_TRUE(unwound_);
}

GREENLET_TEST_F(EventStreamTest, AnExceptionOfTheSourceIsReported) {
  int exceptions = 0;
  Start(
      [&](Request& request, ResponseWriter& response) {
        ServeEvents(request, response, [](EventStream&) {
          throw std::runtime_error("no news");
        }).IgnoreError();
      },
      {.on_exception = [&](const Request&, std::exception_ptr error) {
        ++exceptions;
        try {
          std::rethrow_exception(error);
        } catch (const std::exception& e) {
          EXPECT_TRUE(absl::StrContains(e.what(), "no news")) << e.what();
        }
      }});
  EXPECT_FALSE(AskGet("/").whole);
  EXPECT_EQ(exceptions, 1);
}

GREENLET_TEST_F(EventStreamTest, WaitForDisconnectHasADeadline) {
  std::vector<absl::Status> statuses;
  Start([&](Request&, ResponseWriter& response) {
    statuses.push_back(response.WaitForDisconnect(absl::Seconds(5)));
    EXPECT_TRUE(response.head_sent());
    statuses.push_back(response.WaitForDisconnect(absl::ZeroDuration()));
  });
  EXPECT_TRUE(AskGet("/").whole);
  ASSERT_EQ(statuses.size(), 2u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(statuses[0])) << statuses[0];
  EXPECT_TRUE(absl::IsDeadlineExceeded(statuses[1])) << statuses[1];
}

class EventStreamOverTcp : public EventStreamTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(EventStreamOverTcp, EndsWhenTheClientGoes) {
  Event ended;
  absl::Status end;
  HttpServer server(*net::TcpListener::Listen(*net::Address::Parse("127.0.0.1:0")),
                    [&](Request& request, ResponseWriter& response) {
                      end = ServeEvents(request, response, [](EventStream& events) {
                        EXPECT_TRUE(events.Send({.data = "first"}).ok());
                        Sleep(absl::InfiniteDuration());
                      });
                      ended.Set();
                    });
  server.Start();
  net::TcpStream client = *net::TcpStream::Connect(server.connections().address());
  Write(client, Get("/"));
  ReadThrough(client, "first\n\n\r\n");
  client.Close();
  ended.Wait();
  EXPECT_TRUE(absl::IsUnavailable(end)) << end;
}

}  // namespace
}  // namespace grove::http
