#include "grove/net/http/websocket.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/internal/websocket_core.h"
#include "grove/net/http/server.h"
#include "grove/net/http/websocket_client.h"
#include "grove/net/http/websocket_test_util.h"
#include "grove/net/testing/memory_listener.h"

// A WebSocket in a server over memory, on the clock of the test; its peer is a client of
// ours, or bytes.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;
using net::MemoryStreamOptions;
using Type = WebSocketMessage::Type;
using Received = absl::StatusOr<std::optional<WebSocketMessage>>;

void Echo(WebSocket& ws) {
  for (;;) {
    Received m = ws.Receive();
    if (!m.ok() || !m->has_value()) return;
    if (!ws.Send((*m)->type, (*m)->data).ok()) return;
  }
}

class WebSocketTest : public GreenletTest {
 protected:
  void Start(std::function<void(WebSocket&)> use, WebSocketOptions options = {},
             MemoryStreamOptions stream = {.capacity = 4 << 10}) {
    listener_.emplace(stream);
    server_ = std::make_unique<HttpServer>(
        *listener_, [use, options](Request& request, ResponseWriter& response) {
          absl::StatusOr<WebSocket> ws = AcceptWebSocket(request, response, options);
          if (ws.ok()) use(*ws);
        });
    server_->Start();
  }
  void TearDown() override {
    server_.reset();
    listener_.reset();
  }
  absl::StatusOr<WebSocket> TryConnect(WebSocketOptions options = {}) {
    return ConnectWebSocket(std::make_unique<MemoryStream>(*listener_->Connect()), "h",
                            "/", {.socket = std::move(options)});
  }
  WebSocket Connect(WebSocketOptions options = {}) {
    absl::StatusOr<WebSocket> ws = TryConnect(std::move(options));
    EXPECT_TRUE(ws.ok()) << ws.status();
    return *std::move(ws);
  }
  MemoryStream ConnectRaw() {
    MemoryStream client = *listener_->Connect();
    EXPECT_TRUE(client.Write(UpgradeRequest()).ok());
    EXPECT_TRUE(absl::StartsWith(ReadThrough(client, "\r\n\r\n"), "HTTP/1.1 101 "));
    return client;
  }
  // "text:..." or "binary:...", "closed CODE REASON", or the error.
  static std::string Next(WebSocket& ws, Deadline deadline = {}) {
    const Received m = ws.Receive(deadline);
    if (!m.ok()) return m.status().ToString();
    if (!m->has_value()) {
      return absl::StrCat("closed ", ws.close_code(), " ", ws.close_reason());
    }
    return absl::StrCat((*m)->type == Type::kText ? "text:" : "binary:", (*m)->data);
  }

  // What handlers write to: they may outlive a test's own variables.
  std::string end_, got_;
  absl::Status status_, later_, received_, after_, closed_;
  bool sent_ = false;
  std::optional<MemoryListener> listener_;
  std::unique_ptr<HttpServer> server_;
};

GREENLET_TEST_F(WebSocketTest, MessagesGoBothWays) {
  Start(&Echo);
  WebSocket ws = Connect();
  for (const size_t size : {0, 1, 125, 126, 4096, 4097, 65535, 65536, 1'000'000}) {
    const std::string data(size, 'x');
    const Greenlet<> send = Spawn([&] {
      EXPECT_TRUE(ws.SendText(data).ok());
      EXPECT_TRUE(ws.SendBinary(data).ok());
    });
    EXPECT_EQ(Next(ws), "text:" + data);
    EXPECT_EQ(Next(ws), "binary:" + data);
    send.Join();
  }
  EXPECT_TRUE(ws.Close(4000, "done").ok());
  EXPECT_EQ(Next(ws), "closed 4000 ");
}

GREENLET_TEST_F(WebSocketTest, ManySendersDoNotTearMessages) {
  constexpr int kSenders = 20, kMessages = 20;
  Start([](WebSocket& ws) {
    std::vector<Greenlet<>> senders;
    for (int i = 0; i < kSenders; ++i) {
      senders.push_back(Spawn([&ws, i] {
        for (int k = 0; k < kMessages; ++k) {
          EXPECT_TRUE(ws.SendText(std::string(100 * k * i, 'a' + i)).ok());
        }
      }));
    }
    for (Greenlet<>& g : senders) g.Join();
    EXPECT_TRUE(ws.Close().ok());
  });
  WebSocket ws = Connect();
  std::vector<int> seen(kSenders, 0);
  int empty = 0;
  for (;;) {
    const Received m = ws.Receive();
    ASSERT_TRUE(m.ok()) << m.status();
    if (!m->has_value()) break;
    const std::string& data = (*m)->data;
    if (data.empty()) {
      ++empty;
      continue;
    }
    const int sender = data[0] - 'a';
    // In the order of the sender's calls, and whole.
    EXPECT_EQ(data.size(), static_cast<size_t>(100 * ++seen[sender] * sender));
    EXPECT_EQ(data.find_first_not_of(data[0]), data.npos);
  }
  EXPECT_EQ(ws.close_code(), 1000);
  EXPECT_EQ(empty, kMessages + kSenders - 1);
  for (int i = 1; i < kSenders; ++i) EXPECT_EQ(seen[i], kMessages - 1);
}

GREENLET_TEST_F(WebSocketTest, ADeadlineLosesNothing) {
  Start(&Echo);
  MemoryStream client = ConnectRaw();
  client.Close();
  Start([](WebSocket& ws) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(ws.Receive(absl::Seconds(1)).status()));
    EXPECT_TRUE(absl::IsDeadlineExceeded(ws.Receive(Deadline::Passed()).status()));
    EXPECT_EQ(Next(ws, absl::Seconds(10)), "text:hello");
  });
  client = ConnectRaw();
  const std::string frame = ClientFrame(0x81, "hello");
  ASSERT_TRUE(client.Write(frame.substr(0, 8)).ok());
  Sleep(absl::Seconds(2));
  ASSERT_TRUE(client.Write(frame.substr(8)).ok());
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1001));
}

GREENLET_TEST_F(WebSocketTest, AKilledReceiveLosesNothing) {
  Start([](WebSocket& ws) {
    const Greenlet<> reader = Spawn([&] {
      ws.Receive().status().IgnoreError();
      ADD_FAILURE() << "was not killed";
    });
    Sleep(absl::Seconds(1));
    reader.Kill();
    EXPECT_EQ(Next(ws), "text:hello");
  });
  MemoryStream client = ConnectRaw();
  const std::string frame = ClientFrame(0x81, "hello");
  ASSERT_TRUE(client.Write(frame.substr(0, 8)).ok());
  Sleep(absl::Seconds(2));
  ASSERT_TRUE(client.Write(frame.substr(8)).ok());
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1001));
}

// --- who does not read ----------------------------------------------------------------

GREENLET_TEST_F(WebSocketTest, SendWaitsForAPeerThatDoesNotRead) {
  Start([&](WebSocket& ws) {
    const std::string data(100'000, 'd');
    EXPECT_TRUE(ws.SendBinary(data).ok());
    sent_ = true;
  });
  MemoryStream client = ConnectRaw();
  Sleep(absl::Seconds(30));
  EXPECT_FALSE(sent_);
  EXPECT_EQ(ReadFrame(client), "82:" + std::string(100'000, 'd'));
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1001));
  EXPECT_TRUE(sent_);
}

GREENLET_TEST_F(WebSocketTest, WriteTimeoutCutsAPeerThatDoesNotRead) {
  Start(
      [&](WebSocket& ws) {
        status_ = ws.SendBinary(std::string(100'000, 'd'));
        later_ = ws.SendText("a");
        received_ = ws.Receive().status();
      },
      {.write_timeout = absl::Seconds(10)});
  MemoryStream client = ConnectRaw();
  Sleep(absl::Seconds(9));
  EXPECT_TRUE(status_.ok());
  Sleep(absl::Seconds(2));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status_)) << status_;
  EXPECT_TRUE(absl::IsDeadlineExceeded(later_)) << later_;
  EXPECT_TRUE(absl::IsDeadlineExceeded(received_)) << received_;
}

GREENLET_TEST_F(WebSocketTest, ADeadlineBeforeTheFirstByteTearsNothing) {
  Start([&](WebSocket& ws) {
    // Fills the connection.
    const Greenlet<> first =
        Spawn([&] { EXPECT_TRUE(ws.SendText(std::string(5000, 'f')).ok()); });
    Yield();
    EXPECT_TRUE(absl::IsDeadlineExceeded(ws.SendText("late", absl::Seconds(1))));
    first.Join();
    EXPECT_TRUE(ws.SendText("then").ok());
  });
  MemoryStream client = ConnectRaw();
  Sleep(absl::Seconds(5));
  EXPECT_EQ(ReadFrame(client), "81:" + std::string(5000, 'f'));
  EXPECT_EQ(ReadFrame(client), "81:then");
}

GREENLET_TEST_F(WebSocketTest, AKilledSendCutsTheConnection) {
  Start([&](WebSocket& ws) {
    const Greenlet<> sender = Spawn([&] {
      ws.SendText(std::string(50'000, 'f')).IgnoreError();
      ADD_FAILURE() << "was not killed";
    });
    const Greenlet<> reader = Spawn([&] { after_ = ws.Receive().status(); });
    Sleep(absl::Seconds(1));
    sender.Kill();
    EXPECT_FALSE(ws.SendText("behind a gap").ok());
    reader.Join();
  });
  MemoryStream client = ConnectRaw();
  Sleep(absl::Seconds(5));
  EXPECT_TRUE(absl::IsAborted(after_)) << after_;
  // What was sent of it, and nothing behind.
  const std::string rest = ReadThrough(client, "never");
  EXPECT_EQ(rest.find("gap"), rest.npos);
  EXPECT_LT(rest.size(), 10'000u);
}

// Two ends that send, and whose pongs find no room.
GREENLET_TEST_F(WebSocketTest, PongsWaitForRoomWithoutHoldingUpTheReader) {
  Start([&](WebSocket& ws) {
    const Greenlet<> sender =
        Spawn([&] { EXPECT_TRUE(ws.SendText(std::string(20'000, 's')).ok()); });
    Yield();
    got_ = Next(ws);
    sender.Join();
    // With the connection full, and nobody who sends.
    EXPECT_EQ(Next(ws), "text:b");
  });
  MemoryStream client = ConnectRaw();
  ASSERT_TRUE(client.Write(ClientFrame(0x89, "1") + ClientFrame(0x81, "a")).ok());
  Sleep(absl::Seconds(1));
  EXPECT_EQ(got_, "text:a");
  EXPECT_EQ(ReadFrame(client), "81:" + std::string(20'000, 's'));
  EXPECT_EQ(ReadFrame(client), "8a:1");
  std::string pings;
  for (int i = 0; i < 100; ++i) {
    // As many as fill what nobody reads.
    ASSERT_TRUE(client.Write(ClientFrame(0x89, std::string(125, 'p'))).ok());
    Yield();
    Yield();
  }
  ASSERT_TRUE(client.Write(ClientFrame(0x89, "z") + ClientFrame(0x81, "b")).ok());
  std::string frame;
  int pongs = 0;
  while ((frame = ReadFrame(client)) == "8a:" + std::string(125, 'p')) ++pongs;
  EXPECT_EQ(frame, "8a:z");
  EXPECT_GE(pongs, 4096 / 127);
  EXPECT_LE(pongs, 100);
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1001));
}

// What waits for room outlives the call that has made it, and the deadline of that.
GREENLET_TEST_F(WebSocketTest, PongsHaveATimeOfTheirOwn) {
  Start([&](WebSocket& ws) {
    received_ = WithDeadline(absl::Seconds(1), [&] { return ws.Receive().status(); });
    got_ = Next(ws);
  });
  MemoryStream client = ConnectRaw();
  const std::string pong = std::string(125, 'p');
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.Write(ClientFrame(0x89, pong)).ok());
    Yield();
    Yield();
  }
  Sleep(absl::Seconds(10));
  EXPECT_TRUE(absl::IsDeadlineExceeded(received_)) << received_;
  ASSERT_TRUE(client.Write(ClientFrame(0x81, "b")).ok());
  std::string frame;
  while ((frame = ReadFrame(client)) == "8a:" + pong) {
  }
  EXPECT_EQ(frame, "88:" + CloseOf(1001));
  EXPECT_EQ(got_, "text:b");
}

// --- keeping alive --------------------------------------------------------------------

GREENLET_TEST_F(WebSocketTest, AQuietPeerIsPinged) {
  Start([&](WebSocket& ws) { end_ = Next(ws); },
        {.ping_interval = absl::Seconds(20), .pong_timeout = absl::Seconds(5)});
  MemoryStream client = ConnectRaw();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ReadFrame(client), "89:");
    Sleep(absl::Seconds(4));
    ASSERT_TRUE(client.Write(ClientFrame(0x8a, "")).ok());
  }
  EXPECT_EQ(end_, "");
  EXPECT_EQ(ReadFrame(client), "89:");
  EXPECT_EQ(ReadFrame(client), "end");
  EXPECT_EQ(end_, "UNAVAILABLE: websocket: memory.near does not answer a ping");
}

GREENLET_TEST_F(WebSocketTest, OneThatIsBusyWithALargeMessageIsNotTakenForDead) {
  Start(
      [&](WebSocket& ws) {
        const Greenlet<> sender =
            Spawn([&] { EXPECT_TRUE(ws.SendText(std::string(50'000, 's')).ok()); });
        end_ = Next(ws);
        sender.Join();
      },
      {.ping_interval = absl::Seconds(10),
       .pong_timeout = absl::Seconds(5),
       .write_timeout = absl::Hours(1)});
  MemoryStream client = ConnectRaw();
  Sleep(absl::Minutes(2));
  EXPECT_EQ(ReadFrame(client), "81:" + std::string(50'000, 's'));
  EXPECT_EQ(ReadFrame(client), "89:");
  ASSERT_TRUE(client.Write(ClientFrame(0x81, "here")).ok());
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1001));
  EXPECT_EQ(end_, "text:here");
}

GREENLET_TEST_F(WebSocketTest, OneThatSendsIsNot) {
  Start([&](WebSocket& ws) { Echo(ws); }, {.ping_interval = absl::Seconds(20)});
  MemoryStream client = ConnectRaw();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.Write(ClientFrame(0x81, "a")).ok());
    EXPECT_EQ(ReadFrame(client), "81:a");
    Sleep(absl::Seconds(19));
  }
}

// 5.5.1: behind a close frame nothing may follow.
GREENLET_TEST_F(WebSocketTest, OneThatIsBeingClosedIsNotPinged) {
  for (bool receives : {true, false}) {
    Start(
        [&](WebSocket& ws) {
          const Greenlet<> receiver = Spawn([&] {
            if (receives) end_ = Next(ws);
          });
          Yield();
          closed_ = ws.Close();
          receiver.Join();
        },
        {.ping_interval = absl::Seconds(10),
         .pong_timeout = absl::Seconds(5),
         .close_timeout = absl::Minutes(1)});
    MemoryStream client = ConnectRaw();
    EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1000));
    EXPECT_EQ(ReadFrame(client), "end");
    Yield();
    EXPECT_TRUE(absl::IsDeadlineExceeded(closed_)) << closed_;
    client.Close();
    TearDown();
  }
}

GREENLET_TEST_F(WebSocketTest, QuietEndsOfOursStay) {
  Start(&Echo);
  WebSocket ws = Connect();
  EXPECT_TRUE(absl::IsDeadlineExceeded(ws.Receive(absl::Hours(3)).status()));
  EXPECT_TRUE(ws.SendText("still there").ok());
  EXPECT_EQ(Next(ws), "text:still there");
  EXPECT_EQ(server_->connections().statistics().cut_idle, 0u);
  EXPECT_EQ(server_->connections().statistics().cut_slow, 0u);
}

// --- the end --------------------------------------------------------------------------

GREENLET_TEST_F(WebSocketTest, CloseTellsWhyAndWaits) {
  closed_ = absl::UnknownError("not yet");
  Start([&](WebSocket& ws) {
    closed_ = ws.Close(3001, "enough");
    later_ = ws.SendText("late");
  });
  MemoryStream client = ConnectRaw();
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(3001, "enough"));
  EXPECT_FALSE(closed_.ok());
  // It is dropped: nobody receives.
  ASSERT_TRUE(client.Write(ClientFrame(0x81, "on its way")).ok());
  ASSERT_TRUE(client.Write(ClientFrame(0x88, CloseOf(3001))).ok());
  EXPECT_EQ(ReadFrame(client), "end");
  client.Close();
  Yield();
  Yield();
  EXPECT_TRUE(closed_.ok()) << closed_;
  EXPECT_TRUE(absl::IsUnavailable(later_)) << later_;
}

GREENLET_TEST_F(WebSocketTest, CloseDoesNotWaitForEver) {
  Start([&](WebSocket& ws) { closed_ = ws.Close(); },
        {.close_timeout = absl::Seconds(3)});
  MemoryStream client = ConnectRaw();
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1000));
  EXPECT_EQ(ReadFrame(client), "end");
  EXPECT_TRUE(absl::IsDeadlineExceeded(closed_)) << closed_;
  // Nor for one that agrees, and then does not end the connection.
  MemoryStream other = ConnectRaw();
  EXPECT_EQ(ReadFrame(other), "88:" + CloseOf(1000));
  ASSERT_TRUE(other.Write(ClientFrame(0x88, CloseOf(1000))).ok());
  EXPECT_EQ(ReadFrame(other), "end");
  Sleep(absl::Seconds(4));
  EXPECT_TRUE(closed_.ok()) << closed_;
  EXPECT_EQ(server_->connections().active(), 0u);
}

GREENLET_TEST_F(WebSocketTest, CloseBesideOneThatReceivesAndOneThatSends) {
  Start([&](WebSocket& ws) {
    const Greenlet<> reader = Spawn([&] {
      end_ = Next(ws);
      end_ += " " + Next(ws);
    });
    const Greenlet<> sender =
        Spawn([&] { EXPECT_TRUE(ws.SendText(std::string(10'000, 's')).ok()); });
    Yield();
    const Greenlet<> other = Spawn([&] { EXPECT_TRUE(ws.Close(1000).ok()); });
    EXPECT_TRUE(ws.Close(1000).ok());
    other.Join();
    reader.Join();
    sender.Join();
  });
  MemoryStream client = ConnectRaw();
  EXPECT_EQ(ReadFrame(client), "81:" + std::string(10'000, 's'));
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1000));
  ASSERT_TRUE(client.Write(ClientFrame(0x81, "last")).ok());
  ASSERT_TRUE(client.Write(ClientFrame(0x88, CloseOf(4321, "bye"))).ok());
  EXPECT_EQ(ReadFrame(client), "end");
  client.Close();
  EXPECT_EQ(server_->Stop(absl::Seconds(30)).cut, 0u);
  EXPECT_EQ(end_, "text:last closed 4321 bye");
}

GREENLET_TEST_F(WebSocketTest, CodesAndReasonsThatAreNoneAreRefused) {
  Start([&](WebSocket& ws) {
    for (const int code : {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000}) {
      EXPECT_TRUE(absl::IsInvalidArgument(ws.Close(static_cast<uint16_t>(code)))) << code;
    }
    EXPECT_TRUE(absl::IsInvalidArgument(ws.Close(1000, std::string(124, 'r'))));
    EXPECT_TRUE(absl::IsInvalidArgument(ws.Close(1000, "\xff")));
    EXPECT_TRUE(absl::IsInvalidArgument(ws.SendText("\xff")));
    EXPECT_TRUE(absl::IsInvalidArgument(ws.Ping(std::string(126, 'p'))));
    EXPECT_TRUE(ws.Ping("p").ok());
    EXPECT_TRUE(ws.SendText("fine").ok());
  });
  WebSocket ws = Connect();
  EXPECT_EQ(Next(ws), "text:fine");
  EXPECT_EQ(Next(ws), "closed 1001 ");
}

GREENLET_TEST_F(WebSocketTest, ADrainClosesWith1001) {
  Start([&](WebSocket& ws) { end_ = Next(ws); });
  MemoryStream client = ConnectRaw();
  const Greenlet<> stop =
      Spawn([&] { EXPECT_EQ(server_->Stop(absl::Seconds(30)).cut, 0u); });
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1001));
  ASSERT_TRUE(client.Write(ClientFrame(0x88, CloseOf(1001))).ok());
  EXPECT_EQ(ReadFrame(client), "end");
  client.Close();
  stop.Join();
  EXPECT_EQ(end_, "closed 1001 ");
}

GREENLET_TEST_F(WebSocketTest, ADrainWithClientsOfOursNeedsNoKill) {
  Start(&Echo);
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(Spawn([&] {
      WebSocket ws = Connect();
      EXPECT_TRUE(ws.SendText("a").ok());
      EXPECT_EQ(Next(ws), "text:a");
      EXPECT_EQ(Next(ws), "closed 1001 ");
      EXPECT_TRUE(ws.Close().ok());
    }));
  }
  Sleep(absl::Seconds(1));
  EXPECT_EQ(server_->connections().active(), 50u);
  EXPECT_EQ(server_->Stop(absl::Seconds(30)).cut, 0u);
  for (Greenlet<>& g : clients) g.Join();
}

GREENLET_TEST_F(WebSocketTest, ADrainEndsAPeerThatDoesNotAgree) {
  Start([&](WebSocket& ws) { end_ = Next(ws); });
  MemoryStream client = ConnectRaw();
  EXPECT_EQ(server_->Stop(absl::Minutes(1)).cut, 0u);
  EXPECT_TRUE(absl::StartsWith(end_, "CANCELLED")) << end_;
}

// Who begins a drain may have less time than that takes.
GREENLET_TEST_F(WebSocketTest, ADrainEndsThoughWhoBeganItHasNoMoreTime) {
  Start([&](WebSocket& ws) { end_ = Next(ws); });
  MemoryStream client = ConnectRaw();
  EXPECT_TRUE(absl::IsDeadlineExceeded(WithDeadline(absl::Seconds(1), [&] {
    server_->Stop(absl::Hours(1));
    return absl::OkStatus();
  })));
  Sleep(absl::Seconds(10));
  EXPECT_TRUE(absl::StartsWith(end_, "CANCELLED")) << end_;
  EXPECT_EQ(server_->connections().active(), 0u);
}

GREENLET_TEST_F(WebSocketTest, AFaultAtEachByteEnds) {
  for (const net::StreamFault fault :
       {net::StreamFault::kReset, net::StreamFault::kEnd}) {
    for (uint64_t at = 250; at < 700; at += 7) {
      Start(&Echo, {}, {.fault = fault, .fault_after = at});
      absl::StatusOr<WebSocket> ws = TryConnect();
      if (ws.ok()) {
        for (int i = 0; i < 10; ++i) {
          if (!ws->SendText("0123456789").ok() || !ws->Receive().ok()) break;
        }
        ws->Close().IgnoreError();
      }
      ws = absl::UnknownError("done");
      server_->Stop(absl::Minutes(1));
      TearDown();
    }
  }
}

GREENLET_TEST_F(WebSocketTest, PiecesAndDelaysMakeNoDifference) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Start(&Echo, {.deflate = {.enabled = seed % 2 == 0}},
          {.capacity = 5000, .seed = seed, .max_delay = absl::Milliseconds(20)});
    {
      WebSocket ws = Connect({.deflate = {.enabled = true}});
      EXPECT_EQ(ws.compresses(), seed % 2 == 0);
      const Greenlet<> sender = Spawn([&] {
        for (int i = 0; i < 20; ++i) {
          EXPECT_TRUE(ws.SendText(std::string(i * i * 20, 'a')).ok());
        }
      });
      for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(Next(ws), "text:" + std::string(i * i * 20, 'a'));
      }
      sender.Join();
      EXPECT_TRUE(ws.Close().ok());
    }
    TearDown();
  }
}

// Takes all that is tried, and keeps it until something is written: as TLS does where
// what carries it has no room.
class Hoarding final : public net::Stream {
 public:
  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char>) override {
    return std::nullopt;
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override {
    held.append(data.data(), data.size());
    return data.size();
  }
  bool has_unsent() const override { return !held.empty(); }
  absl::Status ShutdownWrite() override { return absl::OkStatus(); }
  absl::Status ShutdownRead() override { return absl::OkStatus(); }
  void Close() override { closed_ = true; }
  bool closed() const override { return closed_; }
  std::string Describe() const override { return "hoard"; }

  std::string held, sent;
  bool stuck = false;

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char>, Deadline) override { return 0; }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>>,
                                       Deadline) override {
    return 0;
  }
  absl::Status DoWaitReadable(Deadline) override { return absl::OkStatus(); }
  absl::Status DoWrite(absl::string_view data, Deadline) override {
    if (stuck) return absl::DeadlineExceededError("stuck");
    absl::StrAppend(&sent, std::exchange(held, ""), data);
    return absl::OkStatus();
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline deadline) override {
    for (absl::string_view piece : pieces) {
      if (absl::Status s = DoWrite(piece, deadline); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  bool closed_ = false;
};

GREENLET_TEST(WebSocketSend, IsNotOverBeforeTheStreamHasGivenItAway) {
  const auto core = std::make_shared<http_internal::WebSocketCore>(
      /*is_client=*/false, WebSocketOptions());
  Hoarding stream;
  core->Open(&stream, nullptr, {}, {});
  WebSocket ws = http_internal::WebSocketCore::Wrap(core);
  ASSERT_TRUE(ws.SendText("one").ok());
  EXPECT_EQ(stream.sent, "\x81\x03one");
  EXPECT_EQ(stream.held, "");
  stream.stuck = true;
  EXPECT_EQ(ws.SendText("two").code(), absl::StatusCode::kDeadlineExceeded);
  // Nobody knows how much of it the peer gets.
  EXPECT_TRUE(stream.closed());
  EXPECT_FALSE(ws.SendText("three").ok());
}

}  // namespace
}  // namespace grove::http
