#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/net/http/http2_test_util.h"
#include "grove/sync/event.h"

// One stream of HTTP/2, whose client or handler is slow, or stops in the middle.
namespace grove::http {
namespace {

class Http2StreamTest : public Http2Test {
 protected:
  // Handlers may outlive a test's own variables.
  AutoResetEvent next_;
};

GREENLET_TEST_F(Http2StreamTest, ABodyOfWhichSomeIsAlwaysLeftHoldsNoMore) {
  Start([&](Request& request, ResponseWriter&) {
    std::string buffer(10'000, '\0');
    do {
      next_.Wait();
    } while (request.body().Read(absl::MakeSpan(buffer)).value_or(0) == buffer.size());
  });
  peer_->Send(PostHead(1) + Data(1, std::string(1000, 'x'), 0));
  const std::string piece = Data(1, std::string(10'000, 'x'), 0);
  size_t before = 0;
  for (int i = 0; i < 1000; ++i) {
    peer_->Send(piece);
    Settle();
    next_.Set();
    Settle();
    if (i == 10) before = AllocatedMemory();
  }
  EXPECT_LE(AllocatedMemory(), before + (64 << 10));
  // The last read.
  next_.Set();
  Settle();
  next_.Set();
  EXPECT_EQ(peer_->Await(1).status, "200");
}

GREENLET_TEST_F(Http2StreamTest, AResponseOfWhichSomeIsAlwaysLeftHoldsNoMore) {
  Start([&](Request&, ResponseWriter& response) {
    // More than is collected, and less than waits for the client.
    EXPECT_TRUE(response.Write(std::string(5000, 'x')).ok());
    EXPECT_TRUE(response.Write(std::string(5000, 'x')).ok());
    const std::string piece(1000, 'x');
    do {
      next_.Wait();
    } while (response.Write(piece).ok());
  });
  peer_->Send(Http2Frame(
      NGHTTP2_SETTINGS, 0, 0,
      BigEndian(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 2) + BigEndian(1000, 4)));
  peer_->Send(Window(0, 1 << 30));
  peer_->Get(1, "/");
  const auto read = [&] {
    for (;;) {
      const std::optional<Http2Peer::Frame> frame = peer_->Next();
      ASSERT_TRUE(frame.has_value());
      if (frame->type != NGHTTP2_DATA) continue;
      ASSERT_EQ(frame->payload.size(), 1000u);
      return;
    }
  };
  read();
  size_t before = 0;
  for (int i = 0; i < 2000; ++i) {
    peer_->Send(Window(1, 1000));
    read();
    next_.Set();
    Settle();
    if (i == 10) before = AllocatedMemory();
  }
  EXPECT_LE(AllocatedMemory(), before + (64 << 10));
}

// Others run now and then while somebody reads what is there: if he is killed then,
// nothing may have been taken.
GREENLET_TEST_F(Http2StreamTest, AKillWithinAReadLosesNothing) {
  std::string got;
  size_t before = 0;
  Start([&](Request& request, ResponseWriter&) {
    const auto read = [&] {
      char byte;
      while (*request.body().Read(absl::MakeSpan(&byte, 1)) > 0) got.push_back(byte);
    };
    const Greenlet<> reader = Spawn(read);
    const Greenlet<> killer = Spawn([&] { reader.Kill(); });
    killer.Join();
    before = got.size();
    read();
  });
  std::string body;
  for (int i = 0; i < 1000; ++i) body.push_back(static_cast<char>('a' + i % 26));
  peer_->Send(PostHead(1) + Data(1, body));
  EXPECT_EQ(peer_->Await(1).status, "200");
  EXPECT_GT(before, 0u);
  EXPECT_LT(before, body.size());
  EXPECT_EQ(got, body);
}

class Http2FileTest : public Http2Test {
 protected:
  void SetUp() override {
    fd_ = open((testing::TempDir() + "/http2_stream").c_str(),
               O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT_GE(fd_, 0);
  }
  void TearDown() override {
    Http2Test::TearDown();
    close(fd_);
  }
  int fd_ = -1;
};

// While the file is read: what was promised of it does not come, so the client must not
// wait for it.
GREENLET_TEST_F(Http2FileTest, AKillWithinAFileResetsTheStream) {
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() != "/file") return Hello(request, response);
    // At the end of the file the pool is asked.
    const Greenlet<> sender =
        Spawn([&] { response.SendFile(fd_, 0, 100'000).IgnoreError(); });
    Yield();
    EXPECT_FALSE(sender.ready());
    sender.Kill();
  });
  peer_->Get(1, "/file");
  const Http2Peer::Answer answer = peer_->Await(1);
  EXPECT_EQ(answer.status, "200");
  EXPECT_EQ(answer.reset, NGHTTP2_INTERNAL_ERROR);
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
}

// As the client's windows let it: one that is killed or timed out there leaves a file in
// pieces.
GREENLET_TEST_F(Http2FileTest, ATimeoutWhileTheClientTakesAFileResetsTheStream) {
  ASSERT_EQ(ftruncate(fd_, 500'000), 0);
  bool timed_out = false;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() != "/file") return Hello(request, response);
    timed_out = absl::IsDeadlineExceeded(WithTimeout(
        absl::Seconds(5), [&] { return response.SendFile(fd_, 0, 500'000); }));
  });
  peer_->set_updates_windows(false);
  peer_->Get(1, "/file");
  const Http2Peer::Answer answer = peer_->Await(1);
  EXPECT_EQ(answer.reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_EQ(answer.body.size(), 65'535u);
  EXPECT_TRUE(timed_out);
  peer_->Send(Window(0, 1000));
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
}

// One that waits for others of its connection, as the client itself wishes (RFC 9218), is
// no slow client's.
GREENLET_TEST_F(Http2StreamTest, OneThatIsBehindOthersIsNotReset) {
  bool sent = false;
  Start(
      [&](Request& request, ResponseWriter& response) {
        if (request.path() == "/last") {
          sent = response.Send(std::string(20'000, 'y')).ok();
          return;
        }
        response.Send(std::string(20 << 20, 'x')).IgnoreError();
      },
      {}, {.capacity = 20'000});
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1,
                         Http2Block(GetFields("/first", {{"priority", "u=0"}}))));
  Settle();
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 3,
                         Http2Block(GetFields("/last", {{"priority", "u=7"}}))));
  peer_->Send(Window(0, 1 << 30) + Window(1, 1 << 30));
  // It reads all the time, at a fair pace, for longer than a stall may last.
  const MonotonicNanos begin = ThisHub().Now();
  size_t bytes = 0;
  bool last = false;
  while (absl::Nanoseconds(ThisHub().Now() - begin) < absl::Minutes(10)) {
    const std::optional<Http2Peer::Frame> frame = peer_->Next();
    ASSERT_TRUE(frame.has_value());
    last = last || (frame->type == NGHTTP2_DATA && frame->stream_id == 3);
    ASSERT_NE(frame->type, NGHTTP2_RST_STREAM) << frame->stream_id;
    bytes += frame->payload.size();
    Sleep(absl::Seconds(1));
  }
  EXPECT_GE(bytes, 1'000'000u);
  EXPECT_FALSE(last);  // else it has not waited
  peer_->Send(Reset(1));
  EXPECT_EQ(peer_->Await(3).body.size(), 20'000u);
  Settle();
  EXPECT_TRUE(sent);
}

// nghttp2 takes no field block of more than 64 KiB.
GREENLET_TEST_F(Http2StreamTest, AResponseWhoseHeadIsTooLargeIsReset) {
  Start([](Request& request, ResponseWriter& response) {
    if (request.path() == "/large") {
      response.headers().Add("X", std::string(100'000, 'x'));
    }
    Hello(request, response);
  });
  peer_->Get(1, "/large");
  EXPECT_EQ(peer_->Await(1).reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_LE(Elapsed(), absl::Seconds(1));
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
}

GREENLET_TEST_F(Http2StreamTest, TrailersThatAreTooLargeResetTheStream) {
  Start([](Request& request, ResponseWriter& response) {
    EXPECT_TRUE(response.Write("hello").ok());
    if (request.path() != "/large") return;
    EXPECT_TRUE(response.Flush().ok());
    response.trailers().Add("X", std::string(100'000, 'x'));
  });
  peer_->Send(Http2Frame(NGHTTP2_HEADERS, kEnd | kEndHead, 1,
                         Http2Block(GetFields("/large", {{"te", "trailers"}}))));
  EXPECT_EQ(peer_->Await(1).reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_LE(Elapsed(), absl::Seconds(1));
  peer_->Get(3, "/");
  EXPECT_EQ(peer_->Await(3).body, "hello");
}

// The server comes to its end when a client's first bytes have arrived, but were not read
// yet: who had asked is answered.
GREENLET_TEST(Http2Start, ADrainBeforeThePrefaceIsReadLosesNoRequest) {
  net::MemoryListener listener({.capacity = 1 << 20});
  HttpServer server(listener, &Hello);
  server.Start();
  net::MemoryStream stream = *listener.Connect();
  Sleep(absl::Nanoseconds(1));  // it waits for a first byte
  Http2Peer peer(&stream);
  peer.Begin();
  peer.Get(1, "/");
  const Greenlet<> reader = Spawn([&] {
    EXPECT_EQ(peer.Await(1).body, "hello");
    peer.ReadToEnd();
    EXPECT_FALSE(peer.goaways().empty());
    stream.Close();
  });
  EXPECT_EQ(server.Stop(absl::Minutes(1)).cut, 0u);
  reader.Join();
}

}  // namespace
}  // namespace grove::http
