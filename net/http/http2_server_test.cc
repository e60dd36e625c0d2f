#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/http2_test_util.h"
#include "grove/sync/event.h"

// HTTP/2 over memory, on the clock of the test.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;

using Http2ServerTest = Http2Test;

GREENLET_TEST_F(Http2ServerTest, RequestsAreHandledSideBySide) {
  Event go;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/slow") go.Wait();
    response.Send(request.path()).IgnoreError();
  });
  peer_->Get(1, "/slow");
  peer_->Get(3, "/quick");
  EXPECT_EQ(peer_->Await(3).body, "/quick");
  EXPECT_FALSE(peer_->answers()[1].ended);
  go.Set();
  EXPECT_EQ(peer_->Await(1).body, "/slow");
  EXPECT_EQ(server_->statistics().requests, 2u);
  EXPECT_EQ(server_->connections().accepted(), 1u);
}

GREENLET_TEST_F(Http2ServerTest, ARequestSaysWhatItIs) {
  std::string seen;
  Start([&](Request& request, ResponseWriter& response) {
    seen = absl::StrCat(request.method(), " ", request.path(), " ", request.query(), " ",
                        request.host(), " ", request.version_major(), " ",
                        request.headers().Get("X").value_or(""));
    response.set_status(201);
    response.headers().Add("X-Y", "z");
    response.headers().Add("Connection", "close");  // HTTP/1's alone
    response.Send("made").IgnoreError();
  });
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1,
                         Http2Block(GetFields("/p?q=1", {{"x", "y"}}))));
  const Http2Peer::Answer answer = peer_->Await(1);
  EXPECT_EQ(seen, "GET /p q=1 a 2 y");
  EXPECT_EQ(answer.status, "201");
  EXPECT_EQ(answer.body, "made");
  ASSERT_EQ(answer.fields.size(), 4u);
  EXPECT_EQ(answer.fields[1], (std::pair<std::string, std::string>("x-y", "z")));
  EXPECT_EQ(answer.fields[2].first, "date");
  EXPECT_EQ(answer.fields[3],
            (std::pair<std::string, std::string>("content-length", "4")));
}

// Bodies of any size, cut anywhere, at any delay.
GREENLET_TEST_F(Http2ServerTest, BodiesGoBothWays) {
  for (uint64_t seed : {1, 2, 3}) {
    Start(&Echo, {.http2 = {.stream_window = 70'000, .connection_window = 100'000}},
          {.capacity = 20'000, .seed = seed, .max_delay = absl::Milliseconds(1)});
    std::vector<std::string> bodies = {"", "x", std::string(40'000, 'y'),
                                       std::string(60'000, 'z')};
    Greenlet<> writer = Spawn([&] {
      for (size_t i = 0; i < bodies.size(); ++i) {
        const uint32_t id = static_cast<uint32_t>(2 * i + 1);
        peer_->Send(PostHead(id));
        for (size_t at = 0; at + 10'000 < bodies[i].size(); at += 10'000) {
          peer_->Send(Data(id, bodies[i].substr(at, 10'000), 0));
        }
        const size_t last = bodies[i].empty() ? 0 : (bodies[i].size() - 1) / 10'000;
        peer_->Send(Data(id, bodies[i].substr(last * 10'000)));
      }
    });
    // Two that write to one stream at once are a mistake: windows are given beforehand.
    peer_->set_updates_windows(false);
    writer.Join();
    peer_->Send(Window(0, 1 << 20) + Window(5, 1 << 20) + Window(7, 1 << 20));
    for (size_t i = 0; i < bodies.size(); ++i) {
      EXPECT_EQ(peer_->Await(static_cast<uint32_t>(2 * i + 1)).body, bodies[i]);
    }
    TearDown();
  }
}

GREENLET_TEST_F(Http2ServerTest, AClientThatReadsNoMoreOfOneResponseHoldsUpNoOther) {
  bool sent = false;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/small") return Hello(request, response);
    sent = response.Send(std::string(200'000, 'x')).ok();
  });
  peer_->set_updates_windows(false);
  peer_->Send(Window(0, 1 << 20));
  peer_->Get(1, "/large");
  peer_->Get(3, "/small");
  EXPECT_EQ(peer_->Await(3).body, "hello");
  EXPECT_FALSE(sent);  // the handler waits: that is the back-pressure
  peer_->Send(Window(1, 1 << 20));
  EXPECT_EQ(peer_->Await(1).body.size(), 200'000u);
  Settle();
  EXPECT_TRUE(sent);
}

GREENLET_TEST_F(Http2ServerTest, ABodyThatNobodyReadsStopsAtItsWindow) {
  Event go;
  std::string got;
  Start(
      [&](Request& request, ResponseWriter&) {
        go.Wait();
        got = request.body().ReadAll(1 << 20).value_or("failed");
      },
      {.http2 = {.stream_window = 65'535}});
  peer_->Send(PostHead(1));
  for (int i = 0; i < 5; ++i) peer_->Send(Data(1, std::string(13'107, 'x'), 0));
  Settle();
  go.Set();
  // What was read may be sent again.
  std::optional<Http2Peer::Frame> frame;
  do {
    frame = peer_->Next();
    ASSERT_TRUE(frame.has_value());
  } while (frame->type != NGHTTP2_WINDOW_UPDATE || frame->stream_id != 1);
  peer_->Send(Data(1, "y"));
  EXPECT_EQ(peer_->Await(1).status, "200");
  EXPECT_EQ(got.size(), 65'536u);
}

GREENLET_TEST_F(Http2ServerTest, MoreThanTheWindowResetsTheStream) {
  Event never;
  Start([&](Request&, ResponseWriter&) { never.Wait(absl::Minutes(1)); },
        {.http2 = {.stream_window = 65'535}});
  peer_->Send(PostHead(1));
  for (int i = 0; i < 5; ++i) peer_->Send(Data(1, std::string(14'000, 'x'), 0));
  EXPECT_EQ(peer_->Await(1).reset, NGHTTP2_FLOW_CONTROL_ERROR);
}

GREENLET_TEST_F(Http2ServerTest, PiecesGoOutWhenTheyAreFlushed) {
  Event go;
  Start([&](Request&, ResponseWriter& response) {
    EXPECT_TRUE(response.Write("one").ok());
    EXPECT_TRUE(response.Flush().ok());
    go.Wait();
    EXPECT_TRUE(response.Write("two").ok());
  });
  peer_->Get(1, "/");
  while (peer_->answers()[1].body.empty()) {
    const std::optional<Http2Peer::Frame> frame = peer_->Next();
    ASSERT_TRUE(frame.has_value());
    if (frame->type == NGHTTP2_DATA) peer_->answers()[1].body = frame->payload;
  }
  EXPECT_EQ(peer_->answers()[1].body, "one");
  go.Set();
  EXPECT_EQ(peer_->Await(1).body, "onetwo");
}

GREENLET_TEST_F(Http2ServerTest, TrailersGoToThoseWhoAskForThem) {
  Start([](Request&, ResponseWriter& response) {
    EXPECT_TRUE(response.Write("body").ok());
    EXPECT_TRUE(response.Flush().ok());
    response.trailers().Add("Checksum", "7");
  });
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1,
                         Http2Block(GetFields("/", {{"te", "trailers"}}))));
  const Http2Peer::Answer answer = peer_->Await(1);
  EXPECT_EQ(answer.body, "body");
  EXPECT_EQ(answer.trailers, (Http2FieldList{{"checksum", "7"}}));
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).trailers, Http2FieldList{});
}

GREENLET_TEST_F(Http2ServerTest, HeadAndEmptyResponsesHaveNoBody) {
  Start([](Request& request, ResponseWriter& response) {
    if (request.path() == "/none") response.set_status(204);
    if (!request.is_head()) return;
    EXPECT_TRUE(response.Send("hello").ok());
  });
  Http2FieldList fields = GetFields("/");
  fields[0].second = "HEAD";
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, Http2Block(fields)));
  const Http2Peer::Answer head = peer_->Await(1);
  EXPECT_EQ(head.status, "200");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.fields.back().second, "5");
  peer_->Get(3, "/none");
  EXPECT_EQ(peer_->Await(3).status, "204");
}

GREENLET_TEST_F(Http2ServerTest, FilesAreSent) {
  const std::string path = testing::TempDir() + "/http2_file";
  const std::string text(150'000, 'f');
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  Start([&](Request& request, ResponseWriter& response) {
    const bool whole = response.SendFile(fd, 10, text.size() - 10).ok();
    EXPECT_EQ(whole, request.path() == "/whole");
  });
  peer_->Get(1, "/whole");
  EXPECT_EQ(peer_->Await(1).body, text.substr(10));
  ASSERT_EQ(ftruncate(fd, 1000), 0);
  peer_->Get(3, "/short");
  EXPECT_EQ(peer_->Await(3).reset, NGHTTP2_INTERNAL_ERROR);
  close(fd);
}

GREENLET_TEST_F(Http2ServerTest, AClientThatWaitsToBeAskedIsAskedByTheFirstRead) {
  Start([](Request& request, ResponseWriter& response) {
    if (request.headers().Has("x")) return response.Send("no").IgnoreError();
    Echo(request, response);
  });
  peer_->Send(PostHead(1, {{"expect", "100-continue"}}));
  while (peer_->answers()[1].status.empty()) {
    const std::optional<Http2Peer::Frame> frame = peer_->Next();
    ASSERT_TRUE(frame.has_value());
    if (frame->type == NGHTTP2_HEADERS) {
      peer_->answers()[1].status = frame->fields[0].second;
    }
  }
  EXPECT_EQ(peer_->answers()[1].status, "100");
  peer_->Send(Data(1, "body"));
  EXPECT_EQ(peer_->Await(1).body, "body");
  // Who refuses never gets it: the response is whole, then the stream is reset.
  peer_->Send(PostHead(3, {{"expect", "100-continue"}, {"x", "y"}}));
  const Http2Peer::Answer answer = peer_->Await(3);
  EXPECT_EQ(answer.status, "200");
  EXPECT_EQ(answer.body, "no");
}

GREENLET_TEST_F(Http2ServerTest, AnExceptionIsAnsweredOrResetsTheStream) {
  int reported = 0;
  Start(
      [](Request& request, ResponseWriter& response) {
        if (request.path() == "/late") {
          EXPECT_TRUE(response.Write("half").ok());
          EXPECT_TRUE(response.Flush().ok());
        }
        throw std::runtime_error("secret");
      },
      {.on_exception = [&](const Request&, std::exception_ptr) { ++reported; }});
  peer_->Get(1, "/early");
  const Http2Peer::Answer early = peer_->Await(1);
  EXPECT_EQ(early.status, "500");
  EXPECT_EQ(early.body, "Internal Server Error\n");
  peer_->Get(3, "/late");
  EXPECT_EQ(peer_->Await(3).reset, NGHTTP2_INTERNAL_ERROR);
  peer_->Get(5, "/early");
  EXPECT_EQ(peer_->Await(5).status, "500");
  EXPECT_EQ(reported, 3);
}

GREENLET_TEST_F(Http2ServerTest, AHandlerLearnsThatItsClientHasGone) {
  absl::Status read;
  absl::Status write;
  Event ended;
  Start([&](Request& request, ResponseWriter& response) {
    read = request.body().ReadAll(1000).status();
    write = response.Send("late");
    ended.Set();
  });
  peer_->Send(PostHead(1) + Data(1, "x", 0));
  Settle();
  peer_->Send(Reset(1));
  ended.Wait();
  EXPECT_EQ(read.code(), absl::StatusCode::kUnavailable) << read;
  EXPECT_EQ(write.code(), absl::StatusCode::kUnavailable) << write;
  // Or with the whole connection.
  ended.Clear();
  peer_->Send(PostHead(3));
  Settle();
  stream_.Close();
  ended.Wait();
  EXPECT_EQ(read.code(), absl::StatusCode::kUnavailable) << read;
}

GREENLET_TEST_F(Http2ServerTest, AccessIsLogged) {
  std::vector<std::string> lines;
  Start(&Hello, {.access_log = [&](const AccessRecord& r) {
    lines.push_back(absl::StrCat(r.method, " ", r.target, " ", r.version_major, " ",
                                 r.status, " ", r.body_bytes));
  }});
  peer_->Get(1, "/a");
  peer_->Await(1);
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 3,
                         Http2Block(GetFields("/b", {{"expect", "tea"}}))));
  peer_->Await(3);
  EXPECT_EQ(lines, (std::vector<std::string>{"GET /a 2 200 5", "GET /b 2 417 23"}));
}

// --- limits -----------------------------------------------------------------------

GREENLET_TEST_F(Http2ServerTest, TooManyRequestsAtOnceAreRefused) {
  Event go;
  Start(
      [&](Request& request, ResponseWriter& response) {
        go.Wait();
        Hello(request, response);
      },
      {.http2 = {.max_streams = 2}});
  for (uint32_t id : {1, 3, 5}) peer_->Get(id, "/");
  EXPECT_EQ(peer_->Await(5).reset, NGHTTP2_REFUSED_STREAM);
  // Those that the client has given up count while their handlers go on.
  peer_->Send(Reset(1));
  peer_->Get(7, "/");
  EXPECT_EQ(peer_->Await(7).reset, NGHTTP2_REFUSED_STREAM);
  go.Set();
  EXPECT_EQ(peer_->Await(3).body, "hello");
  peer_->Get(9, "/");
  EXPECT_EQ(peer_->Await(9).body, "hello");
}

GREENLET_TEST_F(Http2ServerTest, ABodyThatIsTooLargeFails) {
  Start(
      [](Request& request, ResponseWriter&) {
        EXPECT_EQ(request.body().ReadAll(1 << 20).status().code(),
                  absl::StatusCode::kResourceExhausted);
      },
      {.max_body = 1000});
  peer_->Send(PostHead(1) + Data(1, std::string(1001, 'x'), 0));
  EXPECT_EQ(peer_->Await(1).status, "413");
}

// --- times ------------------------------------------------------------------------

GREENLET_TEST_F(Http2ServerTest, AConnectionWithoutRequestsEnds) {
  Start(&Hello);
  const MonotonicNanos begin = ThisHub().Now();
  peer_->ReadToEnd();
  EXPECT_EQ(peer_->goaways(), std::vector<uint32_t>{NGHTTP2_NO_ERROR});
  EXPECT_GE(absl::Nanoseconds(ThisHub().Now() - begin), absl::Seconds(30));

  ConnectPeer();
  peer_->Get(1, "/");
  EXPECT_EQ(peer_->Await(1).body, "hello");
  const MonotonicNanos idle = ThisHub().Now();
  peer_->ReadToEnd();
  EXPECT_GE(absl::Nanoseconds(ThisHub().Now() - idle), absl::Seconds(75));
  EXPECT_LE(absl::Nanoseconds(ThisHub().Now() - idle), absl::Seconds(150));
}

GREENLET_TEST_F(Http2ServerTest, ThePeerMayBeSilentWhileAHandlerWorks) {
  Start([](Request& request, ResponseWriter& response) {
    Sleep(absl::Hours(1));
    Hello(request, response);
  });
  peer_->Get(1, "/");
  EXPECT_EQ(peer_->Await(1).body, "hello");
}

GREENLET_TEST_F(Http2ServerTest, WhatIsHeldBackIsNotTheClientsFault) {
  Start([](Request&, ResponseWriter& response) {
    EXPECT_TRUE(response.Flush().ok());
    EXPECT_TRUE(response.Write("held back").ok());
    Sleep(absl::Hours(1));
  });
  peer_->Get(1, "/");
  EXPECT_EQ(peer_->Await(1).body, "held back");
}

GREENLET_TEST_F(Http2ServerTest, AHeadThatDoesNotComeToItsEndIsReset) {
  Start(&Hello);
  peer_->Get(1, "/");
  peer_->Await(1);
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd, 3, Http2Block(GetFields("/"))));
  EXPECT_EQ(peer_->Await(3).reset, NGHTTP2_INTERNAL_ERROR);
}

GREENLET_TEST_F(Http2ServerTest, ABodyThatDoesNotComeIsAnswered) {
  Start(&Echo);
  peer_->Send(PostHead(1));
  EXPECT_EQ(peer_->Await(1).status, "408");
}

// The frame that nghttp2 keeps while nothing can be written must not be filled any more.
GREENLET_TEST_F(Http2ServerTest, AResponseMayBeGivenUpWhileItsFramesWait) {
  for (bool client_ends : {false, true}) {
    bool timed_out = false;
    Start(
        [&](Request& request, ResponseWriter& response) {
          if (request.path() != "/large") return Hello(request, response);
          const std::string body(300'000, 'x');
          timed_out = absl::IsDeadlineExceeded(
              WithTimeout(absl::Seconds(5), [&] { return response.Send(body); }));
        },
        {}, {.capacity = 1000});
    peer_->Send(Window(0, 1 << 20));
    peer_->Get(1, "/large");
    peer_->Send(Window(1, 1 << 20));
    Sleep(absl::Seconds(1));
    if (client_ends) stream_.ShutdownWrite().IgnoreError();
    Sleep(absl::Seconds(10));
    EXPECT_EQ(timed_out, !client_ends);
    if (client_ends) {
      peer_->ReadToEnd();
    } else {
      EXPECT_EQ(peer_->Await(1).reset, NGHTTP2_INTERNAL_ERROR);
      peer_->Get(3, "/");
      EXPECT_EQ(peer_->Await(3).body, "hello");
    }
    TearDown();
  }
}

// The connection's writer has nothing to do with the time of who made it.
GREENLET_TEST_F(Http2ServerTest, ADeadlineOfOneHandlerIsNotThatOfOthers) {
  Start(
      [&](Request& request, ResponseWriter& response) {
        if (request.path() != "/hasty") return Hello(request, response);
        DeadlineScope scope(absl::Seconds(1));
        response.Send(std::string(200'000, 'x')).IgnoreError();
      },
      {}, {.capacity = 1000});
  peer_->Send(Window(0, 1 << 20));
  peer_->Get(1, "/hasty");
  peer_->Send(Window(1, 1 << 20));
  Sleep(absl::Seconds(10));
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
}

// All of the body is out, but its end is not.
GREENLET_TEST_F(Http2ServerTest, AResponseThatJustFillsTheWindowIsNotWaitedForInVain) {
  Start([&](Request&, ResponseWriter& response) {
    EXPECT_TRUE(response.Write(std::string(65'535, 'x')).ok());
    EXPECT_TRUE(response.Flush().ok());
  });
  peer_->set_updates_windows(false);
  peer_->Get(1, "/");
  EXPECT_EQ(peer_->Await(1).reset, NGHTTP2_INTERNAL_ERROR);
}

// --- the end ----------------------------------------------------------------------

GREENLET_TEST_F(Http2ServerTest, ADrainLosesNoRequest) {
  Event go;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/slow") go.Wait();
    Hello(request, response);
  });
  peer_->Get(1, "/slow");
  Settle();
  Greenlet<net::StopReport> stop = Spawn([&] { return server_->Stop(absl::Minutes(1)); });
  Settle();
  // On its way when the server began to end.
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
  go.Set();
  EXPECT_EQ(peer_->Await(1).body, "hello");
  peer_->ReadToEnd();
  EXPECT_EQ(peer_->goaways(),
            (std::vector<uint32_t>{NGHTTP2_NO_ERROR, NGHTTP2_NO_ERROR}));
  stream_.Close();
  EXPECT_EQ(stop.Get()->cut, 0u);
}

GREENLET_TEST_F(Http2ServerTest, WhatDoesNotEndInTimeIsCut) {
  bool killed = false;
  Event never;
  Start([&](Request&, ResponseWriter&) {
    try {
      never.Wait();
    } catch (const Interrupt&) {
      killed = true;
      throw;
    }
  });
  peer_->Get(1, "/");
  peer_->Get(3, "/");
  Settle();
  EXPECT_EQ(server_->Stop(absl::Seconds(1)).cut, 1u);
  EXPECT_TRUE(killed);
}

GREENLET_TEST_F(Http2ServerTest, OneThatIsKilledBeforeItBeginsHoldsUpNoOther) {
  Event never;
  Start([&](Request&, ResponseWriter&) { never.Wait(); });
  peer_->Get(1, "/");
  Settle();
  // The server's greenlet has read it, and has made a handler that has not run.
  Greenlet<> killer = Spawn([&] { EXPECT_EQ(server_->Stop().cut, 1u); });
  peer_->Get(3, "/");
  killer.Join();
}

GREENLET_TEST_F(Http2ServerTest, ADrainEndsWithAClientThatDoesNotListen) {
  Start(&Hello);
  peer_->Get(1, "/");
  peer_->Await(1);
  Greenlet<net::StopReport> stop = Spawn([&] { return server_->Stop(absl::Hours(1)); });
  // It asks on and on, and answers no ping.
  uint32_t id = 3;
  for (; id < 2001 && !stop.ready(); id += 2) {
    peer_->Get(id, "/");
    Sleep(absl::Milliseconds(100));
  }
  EXPECT_LT(id, 200u);
  stream_.Close();
  EXPECT_EQ(stop.Get()->cut, 0u);
}

GREENLET_TEST_F(Http2ServerTest, TheLastRequestOfAConnectionIsSaid) {
  Start(&Hello, {.max_requests = 2});
  peer_->Get(1, "/");
  peer_->Await(1);
  EXPECT_TRUE(peer_->goaways().empty());
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
  peer_->ReadToEnd();
  EXPECT_EQ(peer_->goaways().size(), 2u);
}

// Requests that end in all states, on a connection that ends while they are in them, in
// many orders.
TEST(Http2Server, ManyThatEndInEachStateLeaveNothing) {
  ForEachSeed(200, [] {
    MemoryListener listener({.capacity = 1 << 20});
    HttpServer server(listener, [](Request& request, ResponseWriter& response) {
      if (request.path() == "/sleep") Sleep(absl::Milliseconds(1));
      Echo(request, response);
    });
    server.Start();
    MemoryStream stream = *listener.Connect();
    {
      Http2Peer peer(&stream);
      peer.Begin();
      for (uint32_t i = 0; i < 30; ++i) {
        const uint32_t id = 2 * i + 1;
        switch (i % 6) {
          case 0:
            peer.Get(id, "/sleep");
            break;
          case 1:
            peer.Send(PostHead(id));
            break;
          case 2:
            peer.Send(PostHead(id) + Data(id, std::string(2000, 'x'), 0));
            break;
          case 3:
            peer.Send(PostHead(id) + Data(id, std::string(9000, 'x')));
            break;
          case 4:
            peer.Send(PostHead(id) + Reset(id));
            break;
          default:
            peer.Send(PostHead(id) + Data(id, "x", 0) + Reset(id));
            break;
        }
        if (i % 7 == 0) Yield();
      }
      stream.Close();
    }
    EXPECT_EQ(server.Stop(absl::Hours(1)).cut, 0u);
  });
}

}  // namespace
}  // namespace grove::http
