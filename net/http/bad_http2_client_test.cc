#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/http2_test_util.h"
#include "grove/sync/event.h"

// Clients of HTTP/2 that mean no good, of an HttpServer with the limits that it has by
// default, if nothing else is said: each is cut or refused in time, what it costs is
// bounded, and others are answered meanwhile. (Those of HTTP/1 are in
// bad_client_test.cc.)
namespace grove::http {
namespace {

class BadHttp2ClientTest : public Http2Test {
 protected:
  void ExpectOthersAreAnswered() {
    const absl::Duration before = Elapsed();
    EXPECT_EQ(AskGet("/").body, "hello");
    EXPECT_EQ(Elapsed(), before);
  }
  void ExpectCut(uint32_t error_code) {
    peer_->ReadToEnd();
    EXPECT_EQ(peer_->goaways(), std::vector<uint32_t>{error_code});
    ExpectOthersAreAnswered();
  }
  // While a greenlet reads all that is answered, until the end of the connection or so
  // many.
  int SendUntilCut(const std::string& frames, int most) {
    const Greenlet<> reader = Spawn([&] { peer_->ReadToEnd(); });
    int sent = 0;
    for (; sent < most && !reader.ready(); ++sent) {
      peer_->Send(frames);
      if (sent % 100 == 0) Yield();
      if (sent == 1000) ExpectOthersAreAnswered();
    }
    if (!reader.ready()) stream_.ShutdownWrite().IgnoreError();
    reader.Join();
    return sent;
  }
};

// --- floods -----------------------------------------------------------------------

// CVE-2023-44487, rapid reset.
GREENLET_TEST_F(BadHttp2ClientTest, AClientThatOnlyResetsIsCutOff) {
  Start(&Hello);
  const size_t before = AllocatedMemory();
  for (uint32_t i = 0; i < 5000; ++i) {
    peer_->Get(2 * i + 1, "/");
    peer_->Send(Reset(2 * i + 1));
    if (i == 500) ExpectOthersAreAnswered();
  }
  Settle();
  EXPECT_LE(AllocatedMemory(), before + (1 << 20));
  ExpectCut(NGHTTP2_INTERNAL_ERROR);
  // Most had gone before their handlers could begin.
  EXPECT_LE(server_->statistics().requests, 100u);
}

// The same, if handlers have begun: those that were reset count until they have ended.
GREENLET_TEST_F(BadHttp2ClientTest, HandlersOfWhatWasResetAreBounded) {
  int running = 0, most = 0;
  Event go;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/") return Hello(request, response);
    most = std::max(most, ++running);
    go.Wait();
    --running;
  });
  for (uint32_t i = 0; i < 500; ++i) {
    peer_->Get(2 * i + 1, "/work");
    Settle();
    peer_->Send(Reset(2 * i + 1));
  }
  ExpectOthersAreAnswered();
  EXPECT_EQ(most, 100);
  go.Set();
  peer_->Get(1001, "/");
  EXPECT_EQ(peer_->Await(1001).body, "hello");
}

// CVE-2025-8671: the server is made to reset them itself, by a window of more than
// 2^31-1.
GREENLET_TEST_F(BadHttp2ClientTest, HandlersOfWhatTheServerWasMadeToResetAreBounded) {
  int running = 0, most = 0;
  Event go;
  Start(
      [&](Request& request, ResponseWriter& response) {
        if (request.path() == "/") return Hello(request, response);
        most = std::max(most, ++running);
        go.Wait();
        --running;
      },
      {.http2 = {.control_burst = 2000, .control_rate = 1}});
  for (uint32_t i = 0; i < 2000; ++i) {
    peer_->Get(2 * i + 1, "/work");
    peer_->Send(Window(2 * i + 1, 0x7fff'ffff));
    Settle();
    if (i == 500) ExpectOthersAreAnswered();
  }
  EXPECT_EQ(most, 100);
  go.Set();
  ExpectCut(NGHTTP2_ENHANCE_YOUR_CALM);
}

// CVE-2019-9514: resets that the client provokes, and does not read.
GREENLET_TEST_F(BadHttp2ClientTest, AClientThatOnlyProvokesResetsIsCutOff) {
  Start(
      [](Request& request, ResponseWriter& response) {
        if (request.path() == "/") return Hello(request, response);
        Sleep(absl::Minutes(1));
      },
      {.http2 = {.max_streams = 1}}, {.capacity = 1000});
  const size_t before = AllocatedMemory();
  const Greenlet<> flood = Spawn([&] {
    for (uint32_t i = 0; i < 40'000; ++i) peer_->Get(2 * i + 1, "/work");
  });
  Sleep(absl::Seconds(1));
  EXPECT_LE(AllocatedMemory(), before + (8 << 20));
  ExpectOthersAreAnswered();
  peer_->ReadToEnd();
  flood.Join();
  EXPECT_EQ(peer_->goaways(), std::vector<uint32_t>{NGHTTP2_ENHANCE_YOUR_CALM});
}

// CVE-2019-9512, -9515: answers that the client does not read.
GREENLET_TEST_F(BadHttp2ClientTest, FloodsWhoseAnswersAreNotReadAreCutOff) {
  for (const std::string& frame : {Http2Frame(NGHTTP2_PING, 0, 0, std::string(8, 'p')),
                                   Http2Frame(NGHTTP2_SETTINGS, 0, 0)}) {
    Start(&Hello, {}, {.capacity = 1000});
    const size_t before = AllocatedMemory();
    const Greenlet<> flood = Spawn([&] {
      for (int i = 0; i < 20'000; ++i) peer_->Send(frame);
    });
    // Nothing is read before the server has had enough; then it waits for a reader.
    Sleep(absl::Seconds(1));
    EXPECT_LE(AllocatedMemory(), before + (1 << 20));
    ExpectOthersAreAnswered();
    peer_->ReadToEnd();
    flood.Join();
    EXPECT_EQ(peer_->goaways(), std::vector<uint32_t>{NGHTTP2_ENHANCE_YOUR_CALM});
    TearDown();
  }
}

// Also where they are read; and what needs no answer: windows (CVE-2019-9511), priorities
// (-9513), empty data (-9518), frames of a type that nobody knows.
GREENLET_TEST_F(BadHttp2ClientTest, FloodsOfWhatBringsNothingAreCutOff) {
  const std::string padded(11, '\x0a');  // its own length, and ten bytes of it
  for (const auto& [what, frame] : std::vector<std::pair<std::string, std::string>>{
           {"PING", Http2Frame(NGHTTP2_PING, 0, 0, std::string(8, 'p'))},
           {"SETTINGS", Http2Frame(NGHTTP2_SETTINGS, 0, 0)},
           {"WINDOW_UPDATE", Window(0, 1)},
           {"WINDOW_UPDATE of the stream", Window(1, 1)},
           {"PRIORITY", Http2Frame(NGHTTP2_PRIORITY, 0, 1, BigEndian(0, 4) + "x")},
           {"DATA", Data(1, "", 0)},
           {"padded DATA", Data(1, padded, NGHTTP2_FLAG_PADDED)},
           {"frame 99", Http2Frame(99, 0, 1, "what?")},
       }) {
    Start([](Request& request, ResponseWriter& response) {
      if (request.method() == "GET") return Hello(request, response);
      Sleep(absl::Minutes(1));
    });
    peer_->Send(PostHead(1));
    Settle();
    const size_t before = AllocatedMemory();
    const int sent = SendUntilCut(frame, 50'000);
    EXPECT_GE(sent, 10'000) << what;
    EXPECT_LT(sent, 20'000) << what;
    EXPECT_LE(AllocatedMemory(), before + (4 << 20)) << what;
    EXPECT_EQ(peer_->goaways(), std::vector<uint32_t>{NGHTTP2_ENHANCE_YOUR_CALM}) << what;
    EXPECT_EQ(server_->statistics().refused, 1u) << what;
    TearDown();
  }
}

// They are as many as they like who open windows for what they read.
GREENLET_TEST_F(BadHttp2ClientTest, AClientThatReadsMuchIsNoFlood) {
  Start(
      [](Request&, ResponseWriter& response) {
        response.Send(std::string(10 << 20, 'x')).IgnoreError();
      },
      {.http2 = {.control_burst = 50, .control_rate = 1}});
  peer_->Get(1, "/");
  EXPECT_EQ(peer_->Await(1).body.size(), size_t{10} << 20);
}

// Nor who asks for little over a long time.
GREENLET_TEST_F(BadHttp2ClientTest, PingsNowAndThenAreNoFlood) {
  Start(
      [](Request&, ResponseWriter& response) {
        Sleep(absl::Hours(1));
        response.Send("late").IgnoreError();
      },
      {.http2 = {.control_burst = 10, .control_rate = 1}});
  peer_->Get(1, "/");
  for (int i = 0; i < 1000; ++i) {
    peer_->Send(Http2Frame(NGHTTP2_PING, 0, 0, std::string(8, 'p')));
    Sleep(absl::Seconds(2));
  }
  EXPECT_EQ(peer_->Await(1).body, "late");
}

// --- heads ------------------------------------------------------------------------

// CVE-2024-28182, with and without anything in the frames.
GREENLET_TEST_F(BadHttp2ClientTest, AHeadInEndlesslyManyFramesIsCutOff) {
  for (const std::string& more : {std::string(), Http2Block({{"x", "y"}})}) {
    Start(&Hello);
    const size_t before = AllocatedMemory();
    peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd, 1, Http2Block(GetFields("/"))));
    for (int i = 0; i < 200; ++i) {
      peer_->Send(
          Http2Frame(NGHTTP2_CONTINUATION, 0, 1, more.substr(more.empty() ? 0 : 1)));
    }
    Settle();
    EXPECT_LE(AllocatedMemory(), before + (256 << 10));
    ExpectCut(NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_EQ(server_->statistics().requests, 1u);  // the other one's
    TearDown();
  }
}

// A large field in the dynamic table, named again and again by one byte: an HPACK bomb.
GREENLET_TEST_F(BadHttp2ClientTest, AHeadThatUnpacksToMuchIsRefused) {
  Start(&Hello);
  std::string block = Http2Block(GetFields("/"));
  block.insert(1, "\x3f\xe1\x1f");  // 6.3: the table has 4,096 bytes, and not 0
  // RFC 7541, 6.2.1: a literal with incremental indexing: "x" of 3,000 bytes, of which
  // the size has a prefix of 7 bits.
  block += std::string("\x40\x01x", 3) + "\x7f";
  block.push_back(static_cast<char>(((3000 - 127) & 0x7f) | 0x80));
  block.push_back(static_cast<char>((3000 - 127) >> 7));
  block += std::string(3000, 'v');
  block += std::string(10'000, static_cast<char>(0x80 | 62));  // 6.1: entry 62
  const size_t before = AllocatedMemory();
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, block));
  EXPECT_EQ(peer_->Await(1).reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_LE(AllocatedMemory(), before + (256 << 10));  // of 30 MB
  EXPECT_EQ(server_->statistics().requests, 0u);
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
  ExpectOthersAreAnswered();
}

// CVE-2019-9516: fields that are almost nothing count as something.
GREENLET_TEST_F(BadHttp2ClientTest, FieldsOfNothingAreCounted) {
  Start(&Hello);
  std::string block = Http2Block(GetFields("/"));
  // Literals without indexing: a name of one byte, an empty value.
  for (int i = 0; i < 3000; ++i) block += std::string("\0\1x\0", 4);
  const size_t before = AllocatedMemory();
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, block));
  EXPECT_EQ(peer_->Await(1).status, "431");
  EXPECT_LE(AllocatedMemory(), before + (256 << 10));
  ExpectOthersAreAnswered();
}

// A table that is larger than was allowed.
GREENLET_TEST_F(BadHttp2ClientTest, ATableThatWasNotAllowedIsAnError) {
  Start(&Hello);
  std::string block = Http2Block(GetFields("/"));
  block.insert(1, std::string("\x3f\xe1\xff\x03", 4));  // 64 KiB
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1, block));
  ExpectCut(NGHTTP2_COMPRESSION_ERROR);
}

GREENLET_TEST_F(BadHttp2ClientTest, HeadsByDripsAreReset) {
  Start(&Hello);
  peer_->Get(1, "/");
  peer_->Await(1);  // nothing is to be answered any more
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd, 3, Http2Block(GetFields("/"))));
  const Greenlet<> drip = Spawn([&] {
    // A byte of a frame's head, and never all of it.
    for (int i = 0; i < 8 && stream_.Write(std::string(1, '\0')).ok(); ++i) {
      Sleep(absl::Seconds(3));
    }
  });
  Sleep(absl::Seconds(5));
  ExpectOthersAreAnswered();
  EXPECT_EQ(peer_->Await(3).reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_LE(Elapsed(), absl::Seconds(20));
  drip.Join();
}

// --- bodies -----------------------------------------------------------------------

GREENLET_TEST_F(BadHttp2ClientTest, ABodyByDripsIsCut) {
  Start([](Request& request, ResponseWriter& response) {
    // What is untouched, the server answers.
    if (request.body().ReadAll(1 << 20).ok()) Hello(request, response);
  });
  peer_->Send(PostHead(1));
  const Greenlet<Http2Peer::Answer> answer = Spawn([&] { return peer_->Await(1); });
  // Never so long without a byte that body_timeout would end it.
  for (int i = 0; i < 100 && !answer.ready(); ++i) {
    peer_->Send(Data(1, "x", 0));
    Sleep(absl::Seconds(10));
    if (i == 1) ExpectOthersAreAnswered();
  }
  EXPECT_EQ(answer.Get()->status, "408");
  EXPECT_LE(Elapsed(), absl::Minutes(2));
}

// All that a client may send before anybody reads it: the connection's window.
GREENLET_TEST_F(BadHttp2ClientTest, BodiesThatNobodyReadsHoldNoMoreThanTheWindow) {
  Event go;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.method() == "GET") return Hello(request, response);
    go.Wait();
  });
  const size_t before = AllocatedMemory();
  for (uint32_t id = 1; id < 40; id += 2) {
    peer_->Send(PostHead(id));
    for (int i = 0; i < 16; ++i) peer_->Send(Data(id, std::string(16'000, 'x'), 0));
    Settle();
  }
  EXPECT_LE(AllocatedMemory(), before + (4 << 20));  // of 5 MB and what holds them
  go.Set();
  ExpectCut(NGHTTP2_FLOW_CONTROL_ERROR);
}

// What pads a frame counts in its windows; so it must be given back, though no handler
// reads it.
GREENLET_TEST_F(BadHttp2ClientTest, PaddingUsesUpNoWindow) {
  std::string got;
  Start([&](Request& request, ResponseWriter&) {
    got = request.body().ReadAll(1 << 20).value_or("failed");
  });
  peer_->Send(PostHead(1));
  const std::string padded = std::string(1, '\xff') + "x" + std::string(255, '\0');
  for (int i = 0; i < 5000; ++i) {
    peer_->Send(Data(1, padded, NGHTTP2_FLAG_PADDED));
    if (i % 50 == 0) Settle();
  }
  peer_->Send(Data(1, "y"));
  EXPECT_EQ(peer_->Await(1).status, "200");
  EXPECT_EQ(got, std::string(5000, 'x') + "y");
}

// --- windows ----------------------------------------------------------------------

// CVE-2019-9511: windows opened a byte at a time.
GREENLET_TEST_F(BadHttp2ClientTest, AResponseThatIsTakenByteByByteIsReset) {
  bool sent = true;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/") return Hello(request, response);
    sent = response.Send(std::string(100'000, 'x')).ok();
  });
  peer_->set_updates_windows(false);
  peer_->Get(1, "/large");
  const Greenlet<Http2Peer::Answer> answer = Spawn([&] { return peer_->Await(1); });
  for (int i = 0; i < 1000 && !answer.ready(); ++i) {
    Sleep(absl::Seconds(1));
    peer_->Send(Window(0, 1) + Window(1, 1));
    if (i == 5) ExpectOthersAreAnswered();
  }
  EXPECT_TRUE(answer.Get()->reset.has_value());
  EXPECT_FALSE(sent);
}

// CVE-2019-9517: windows that are wide open, and a connection that is not read.
GREENLET_TEST_F(BadHttp2ClientTest, AClientThatReadsNothingIsCutAndHoldsLittle) {
  int sent = 0, ended = 0;
  Start(
      [&](Request& request, ResponseWriter& response) {
        if (request.path() == "/") return Hello(request, response);
        const std::string piece(10'000, 'x');
        while (response.Write(piece).ok()) ++sent;
        ++ended;
      },
      {}, {.capacity = 1000});
  peer_->Send(Window(0, 1 << 30));
  const size_t before = AllocatedMemory();
  for (uint32_t id = 1; id < 100; id += 2) {
    peer_->Get(id, "/endless");
    peer_->Send(Window(id, 1 << 30));
  }
  Sleep(absl::Seconds(10));
  // Each handler waits with a piece or two; what is on its way is one batch.
  EXPECT_LE(sent, 50 * 3);
  EXPECT_LE(AllocatedMemory(), before + 50 * (96 << 10));
  ExpectOthersAreAnswered();
  Sleep(absl::Minutes(10));
  EXPECT_EQ(ended, 50);
  EXPECT_EQ(server_->connections().active(), 0u);
}

// Settings that make windows negative and large again, without end.
GREENLET_TEST_F(BadHttp2ClientTest, WindowsThatComeAndGoHoldUpNobody) {
  Start([](Request& request, ResponseWriter& response) {
    if (request.path() == "/") return Hello(request, response);
    response.Send(std::string(200'000, 'x')).IgnoreError();
  });
  const auto initial = [](uint32_t size) {
    return Http2Frame(
        NGHTTP2_SETTINGS, 0, 0,
        BigEndian(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2) + BigEndian(size, 4));
  };
  for (uint32_t id = 1; id < 60; id += 2) peer_->Get(id, "/large");
  EXPECT_LT(SendUntilCut(initial(0) + initial(65'535), 20'000), 10'000);
  EXPECT_EQ(peer_->goaways(), std::vector<uint32_t>{NGHTTP2_ENHANCE_YOUR_CALM});
  ExpectOthersAreAnswered();
}

}  // namespace
}  // namespace grove::http
