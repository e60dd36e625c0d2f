#include "grove/net/tls.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/copy.h"
#include "grove/net/relay.h"
#include "grove/net/tls_test_util.h"

namespace grove::net {
namespace {

using absl::StatusCode;

GREENLET_TEST(TlsTest, CarriesBytesBothWays) {
  TlsPair pair = TlsPair::Connected();
  ASSERT_TRUE(pair.client.Write("hello").ok());
  EXPECT_EQ(ReadSome(pair.server), "hello");
  ASSERT_TRUE(pair.server.WriteGather({"wor", "", "ld"}).ok());
  EXPECT_EQ(ReadSome(pair.client), "world");
  EXPECT_EQ(pair.client.version(), TlsVersion::k1_3);
  EXPECT_EQ(pair.client.cipher().substr(0, 4), "TLS_");
  EXPECT_EQ(pair.server.server_name(), "a.test");
  EXPECT_FALSE(pair.client.resumed());
}

GREENLET_TEST(TlsTest, TheFirstCallDoesTheHandshake) {
  TlsPair pair = TlsPair::Make();
  EXPECT_FALSE(pair.client.handshaken());
  EXPECT_EQ(pair.client.alpn(), "");
  EXPECT_EQ(pair.client.peer_certificate(), std::nullopt);
  char b[10];
  EXPECT_EQ(*pair.client.TryRead(absl::MakeSpan(b)), std::nullopt);
  EXPECT_EQ(*pair.client.TryWrite("x"), 0u);
  EXPECT_EQ(pair.client.ShutdownWrite().code(), StatusCode::kFailedPrecondition);
  const Greenlet<> server = Spawn([&] { EXPECT_EQ(ReadSome(pair.server), "hi"); });
  ASSERT_TRUE(pair.client.Write("hi").ok());
  server.Join();
  EXPECT_TRUE(pair.client.handshaken());
  EXPECT_TRUE(pair.server.handshaken());
}

GREENLET_TEST(TlsTest, AReaderAndAWriterMayBothWaitForTheHandshake) {
  TlsPair pair = TlsPair::Make();
  const Greenlet<std::string> reader = Spawn([&] { return ReadSome(pair.client); });
  const Greenlet<absl::Status> writer = Spawn([&] { return pair.client.Write("ping"); });
  Yield();
  EXPECT_EQ(ReadSome(pair.server), "ping");
  ASSERT_TRUE(pair.server.Write("pong").ok());
  EXPECT_TRUE(writer.Get().ok());
  EXPECT_EQ(*reader.Get(), "pong");
}

GREENLET_TEST(TlsTest, Tls12WorksAsWell) {
  TlsPair pair =
      TlsPair::Make(ClientContext({.max_version = TlsVersion::k1_2}), ServerContext());
  pair.MustHandshake();
  EXPECT_EQ(pair.client.version(), TlsVersion::k1_2);
  EXPECT_EQ(pair.server.version(), TlsVersion::k1_2);
  ASSERT_TRUE(pair.client.Write("hello").ok());
  EXPECT_EQ(ReadSome(pair.server), "hello");
  ASSERT_TRUE(pair.server.ShutdownWrite().ok());
  EXPECT_EQ(ReadSome(pair.client), "");
}

GREENLET_TEST(TlsTest, NoCommonVersionIsSaidByBoth) {
  TlsPair pair = TlsPair::Make(ClientContext({.max_version = TlsVersion::k1_2}),
                               ServerContext({.min_version = TlsVersion::k1_3}));
  const auto [client, server] = pair.Handshake();
  EXPECT_EQ(client.code(), StatusCode::kFailedPrecondition) << client;
  EXPECT_EQ(server.code(), StatusCode::kFailedPrecondition) << server;
  EXPECT_EQ(pair.client.Handshake(), client) << "it stays so";
  EXPECT_EQ(pair.client.Write("x").code(), StatusCode::kFailedPrecondition);
}

// --- the end ---

GREENLET_TEST(TlsTest, CloseNotifyIsTheEndAndTheOtherDirectionGoesOn) {
  TlsPair pair = TlsPair::Connected();
  ASSERT_TRUE(pair.client.Write("last words").ok());
  ASSERT_TRUE(pair.client.ShutdownWrite().ok());
  ASSERT_TRUE(pair.client.ShutdownWrite().ok()) << "again, without effect";
  EXPECT_EQ(*ReadAll(pair.server), "last words");
  EXPECT_EQ(ReadSome(pair.server), "") << "again";
  EXPECT_TRUE(pair.server.WaitReadable().ok());
  EXPECT_EQ(ErrnoOf(pair.client.Write("more")), EPIPE);
  EXPECT_EQ(ErrnoOf(pair.client.TryWrite("more").status()), EPIPE);
  ASSERT_TRUE(pair.server.Write("and mine").ok());
  EXPECT_EQ(ReadSome(pair.client), "and mine");
  pair.server.Close();
  EXPECT_EQ(ReadSome(pair.client), "");
}

GREENLET_TEST(TlsTest, CloseSaysSoToThePeer) {
  TlsPair pair = TlsPair::Connected();
  ASSERT_TRUE(pair.client.Write("bye").ok());
  pair.client.Close();
  pair.client.Close();
  EXPECT_TRUE(pair.client.closed());
  EXPECT_EQ(*ReadAll(pair.server), "bye");
  char b[10];
  EXPECT_EQ(pair.client.Read(absl::MakeSpan(b)).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(pair.client.TryRead(absl::MakeSpan(b)).status().code(),
            StatusCode::kCancelled);
  EXPECT_EQ(pair.client.Write("x").code(), StatusCode::kCancelled);
  EXPECT_EQ(pair.client.WaitReadable().code(), StatusCode::kCancelled);
  EXPECT_EQ(pair.client.ShutdownWrite().code(), StatusCode::kCancelled);
}

GREENLET_TEST(TlsTest, AnEndWithoutCloseNotifyIsDataLoss) {
  TlsPair pair = TlsPair::Connected();
  ASSERT_TRUE(pair.client.Write("part of").ok());
  pair.client.transport().Close();
  EXPECT_EQ(ReadSome(pair.server), "part of");
  char b[10];
  for (int i = 0; i < 2; ++i) {
    const absl::Status cut = pair.server.Read(absl::MakeSpan(b)).status();
    EXPECT_EQ(cut.code(), StatusCode::kDataLoss);
    EXPECT_NE(cut.message().find("without close_notify"), std::string::npos) << cut;
  }
  EXPECT_TRUE(pair.server.WaitReadable().ok());
}

GREENLET_TEST(TlsTest, ShutdownReadLeavesWhatHasArrivedAndEndsAWaitingRead) {
  TlsPair pair = TlsPair::Connected();
  ASSERT_TRUE(pair.client.Write("arrived").ok());
  ASSERT_TRUE(pair.server.ShutdownRead().ok());
  EXPECT_EQ(*ReadAll(pair.server), "arrived");
  ASSERT_TRUE(pair.server.Write("still").ok());
  EXPECT_EQ(ReadSome(pair.client), "still");
  const Greenlet<std::string> reader = Spawn([&] { return ReadSome(pair.client); });
  Yield();
  ASSERT_TRUE(pair.client.ShutdownRead().ok());
  EXPECT_EQ(*reader.Get(), "");
}

GREENLET_TEST(TlsTest, ClosingWakesWhoWaitsAlsoIfTheStreamIsGone) {
  auto pair = std::make_unique<TlsPair>(TlsPair::Connected());
  const Greenlet<absl::Status> reader = Spawn([&] {
    char b[10];
    return pair->client.Read(absl::MakeSpan(b)).status();
  });
  const Greenlet<absl::Status> writer =
      Spawn([&] { return pair->client.Write(std::string(8 << 20, 'x')); });
  Yield();
  const Greenlet<> closer = Spawn({.name = "closer"}, [&] { pair.reset(); });
  for (const absl::Status& s : {reader.Get(), writer.Get()}) {
    EXPECT_EQ(s.code(), StatusCode::kCancelled);
    EXPECT_NE(s.message().find("closed by greenlet 'closer'"), std::string::npos) << s;
  }
}

GREENLET_TEST(TlsTest, ClosingWakesAHandshake) {
  TlsPair pair = TlsPair::Make();
  const Greenlet<absl::Status> one = Spawn([&] { return pair.client.Handshake(); });
  const Greenlet<absl::Status> two = Spawn([&] { return pair.client.Handshake(); });
  Yield();
  pair.client.Close();
  EXPECT_EQ(one.Get().code(), StatusCode::kCancelled);
  EXPECT_EQ(two.Get().code(), StatusCode::kCancelled);
}

// --- deadlines and kills ---

GREENLET_TEST(TlsTest, ASilentPeerEndsTheHandshakeAtItsDeadline) {
  const TlsServerContext server = ServerContext({.handshake_timeout = absl::Seconds(7)});
  auto [near, far] = *UnixStream::Pair();
  TlsStream stream(std::move(near), server);
  const absl::Status late = stream.Handshake();
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded) << late;
  EXPECT_TRUE(HasTaken(absl::Seconds(7)));
  char b[10];
  EXPECT_EQ(stream.Read(absl::MakeSpan(b), absl::Seconds(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(8)));
  // It can go on.
  TlsStream client(std::move(far), ClientContext(), "a.test");
  const Greenlet<absl::Status> other = Spawn([&] { return client.Handshake(); });
  EXPECT_TRUE(stream.Handshake().ok());
  EXPECT_TRUE(other.Get().ok());
}

GREENLET_TEST(TlsTest, WhoWaitsForAnothersHandshakeHasADeadlineToo) {
  TlsPair pair = TlsPair::Make();
  const Greenlet<absl::Status> first =
      Spawn([&] { return pair.client.Handshake(absl::Seconds(5)); });
  Yield();
  EXPECT_EQ(pair.client.Write("x", absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_EQ(first.Get().code(), StatusCode::kDeadlineExceeded);
}

GREENLET_TEST(TlsTest, ReadsAndWritesHaveDeadlines) {
  TlsPair pair = TlsPair::Connected();
  char b[10];
  EXPECT_EQ(pair.client.Read(absl::MakeSpan(b), absl::Seconds(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  pair.client.set_timeout(absl::Seconds(1));
  EXPECT_EQ(pair.client.WaitReadable().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  EXPECT_EQ(*pair.client.TryRead(absl::MakeSpan(b)), std::nullopt);
}

void TestAWriteThatStalls(TlsPair pair) {
  const std::string data = Pattern(8 << 20);
  const absl::Status late = pair.client.Write(data, absl::Seconds(1));
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded);
  const size_t sealed = BytesMoved(late);
  ASSERT_GT(sealed, 0u);
  ASSERT_LT(sealed, data.size());
  EXPECT_EQ(*pair.client.TryWrite("x"), 0u);
  const Greenlet<absl::StatusOr<std::string>> reader =
      Spawn([&] { return ReadAll(pair.server); });
  ASSERT_TRUE(pair.client.Write(absl::string_view(data).substr(sealed)).ok());
  ASSERT_TRUE(pair.client.ShutdownWrite().ok());
  const absl::StatusOr<std::string> got = reader.Get();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(*got == data);
}

GREENLET_TEST(TlsTest, AWriteThatStallsSaysHowMuchIsInRecordsAndGoesOn) {
  TestAWriteThatStalls(TlsPair::Connected());
}

GREENLET_TEST(TlsTest, AKilledReadLosesNothing) {
  TlsPair pair = TlsPair::Connected();
  for (int i = 0; i < 3; ++i) {
    const Greenlet<> reader = Spawn([&] {
      char b[10];
      (void)pair.client.Read(absl::MakeSpan(b));
      ADD_FAILURE() << "not killed";
    });
    Yield();
    ASSERT_TRUE(pair.server.Write("x").ok());
    reader.KillSoon();  // both at once
    reader.Join();
  }
  EXPECT_EQ(ReadSome(pair.client), "xxx");
}

GREENLET_TEST(TlsTest, AfterAKilledWriteNothingIsWrittenAndThePeerKnows) {
  TlsPair pair = TlsPair::Connected();
  const std::string data = Pattern(8 << 20);
  const Greenlet<absl::Status> writer = Spawn([&] { return pair.client.Write(data); });
  Yield();
  ASSERT_FALSE(writer.ready());
  writer.Kill();
  EXPECT_EQ(pair.client.Write("more").code(), StatusCode::kAborted);
  EXPECT_EQ(pair.client.TryWrite("more").status().code(), StatusCode::kAborted);
  ASSERT_TRUE(pair.server.Write("reading goes on").ok());
  EXPECT_EQ(ReadSome(pair.client), "reading goes on");
  pair.client.Close();
  // All that came is what was sent, and then it was cut.
  std::string got(data.size(), 0);
  const absl::Status cut = pair.server.ReadExactly(absl::MakeSpan(got));
  EXPECT_EQ(cut.code(), StatusCode::kDataLoss) << cut;
  EXPECT_TRUE(got.substr(0, BytesMoved(cut)) == data.substr(0, BytesMoved(cut)));
  EXPECT_GT(BytesMoved(cut), 0u);
}

GREENLET_TEST(TlsTest, AKilledHandshakeLeavesAStreamThatCanOnlyBeClosed) {
  TlsPair pair = TlsPair::Make();
  const Greenlet<absl::Status> one = Spawn([&] { return pair.client.Handshake(); });
  const Greenlet<absl::Status> two = Spawn([&] { return pair.client.Write("x"); });
  Yield();
  one.Kill();
  EXPECT_EQ(two.Get().code(), StatusCode::kAborted);
  EXPECT_EQ(pair.client.Handshake().code(), StatusCode::kAborted);
  pair.client.Close();
  EXPECT_FALSE(pair.server.Handshake().ok());
}

TEST(TlsSeedsTest, AKillAtAnyMomentLeaksNothingAndSendsNoGarbage) {
  ForEachSeed(GROVE_TSAN ? 20 : 60, [] {
    uint32_t dice = static_cast<uint32_t>(*ThisHub().options().seed);
    auto pair = std::make_unique<TlsPair>(TlsPair::Make());
    const std::string data = Pattern(300000);
    const Greenlet<> writer = Spawn([&] {
      if (pair->client.Write(data).ok()) pair->client.ShutdownWrite().IgnoreError();
    });
    std::string got;
    absl::Status end;
    const Greenlet<> reader = Spawn([&] {
      std::string b(5000, 0);
      for (;;) {
        const absl::StatusOr<size_t> n = pair->server.Read(absl::MakeSpan(b));
        end = n.status();
        if (!n.ok() || *n == 0) return;
        got.append(b, 0, *n);
      }
    });
    const Greenlet<> idle = Spawn([&] {
      char b[10];
      (void)pair->client.Read(absl::MakeSpan(b));
    });
    for (dice = dice * 7 % 40; dice > 0; --dice) Yield();
    writer.Kill();
    pair->client.Close();
    reader.Join();
    idle.Join();
    EXPECT_TRUE(got == data.substr(0, got.size()));
    // Cut off, or reset.
    EXPECT_EQ(end.ok(), got.size() == data.size()) << end;
  });
}

// --- both directions at once ---

GREENLET_TEST(TlsTest, ManyMegabytesBothWaysAtOnce) {
  TlsPair pair = TlsPair::Connected();
  // ThreadSanitizer looks at each byte that is copied.
  const std::string data = Pattern((GROVE_TSAN ? 5 : 50) << 20);
  const auto write = [&](TlsStream& stream) {
    // In pieces of all sizes.
    absl::string_view rest = data;
    for (size_t size = 1; !rest.empty(); size = size * 3 % 200003) {
      ASSERT_TRUE(stream.Write(rest.substr(0, size)).ok());
      rest.remove_prefix(std::min(size, rest.size()));
    }
    ASSERT_TRUE(stream.ShutdownWrite().ok());
  };
  const auto read = [&](TlsStream& stream) {
    std::string buffer(100000, 0);
    size_t at = 0;
    for (size_t size = 1;; size = size * 5 % 99991) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer).first(size));
      ASSERT_TRUE(n.ok()) << n.status();
      if (*n == 0) break;
      ASSERT_EQ(data.compare(at, *n, buffer, 0, *n), 0) << "at " << at;
      at += *n;
    }
    EXPECT_EQ(at, data.size());
  };
  const Greenlet<> all[] = {
      Spawn([&] { write(pair.client); }), Spawn([&] { write(pair.server); }),
      Spawn([&] { read(pair.client); }), Spawn([&] { read(pair.server); })};
  for (const Greenlet<>& g : all) g.Join();
}

GREENLET_TEST(TlsTest, PiecesAreGatheredInRecordsAndScatteredInBuffers) {
  TlsPair pair = TlsPair::Connected();
  std::vector<std::string> parts;
  std::string whole;
  for (int i = 0; i < 500; ++i) {
    parts.push_back(Pattern(i * 7 % 401, i));
    if (i % 100 == 0) parts.back() = Pattern(40000, i);
    whole += parts.back();
  }
  const std::vector<absl::string_view> views(parts.begin(), parts.end());
  const Greenlet<absl::Status> writer = Spawn([&] {
    const absl::Status s = pair.client.WriteGather(views);
    pair.client.Close();
    return s;
  });
  std::string got;
  std::string a(10, 0), b(5000, 0), c(1000, 0);
  for (;;) {
    const absl::StatusOr<size_t> n = pair.server.ReadScatter(
        {absl::MakeSpan(a), absl::Span<char>(), absl::MakeSpan(b), absl::MakeSpan(c)});
    ASSERT_TRUE(n.ok()) << n.status();
    if (*n == 0) break;
    got += (a + b + c).substr(0, *n);
  }
  EXPECT_TRUE(writer.Get().ok());
  EXPECT_TRUE(got == whole);
}

GREENLET_TEST(TlsTest, WhatTryWriteTookArrivesThoughNobodyWritesAgain) {
  TlsPair pair = TlsPair::Connected();
  const std::string data = Pattern(8 << 20);
  const absl::StatusOr<size_t> taken = pair.client.TryWrite(data);
  ASSERT_TRUE(taken.ok());
  ASSERT_GT(*taken, 0u);
  ASSERT_LT(*taken, data.size());
  EXPECT_EQ(*pair.client.TryWrite("x"), 0u);
  std::string got(*taken, 0);
  ASSERT_TRUE(pair.server.ReadExactly(absl::MakeSpan(got)).ok());
  EXPECT_TRUE(got == data.substr(0, *taken));
  EXPECT_EQ(*pair.client.TryWrite("next"), 4u);
  EXPECT_EQ(ReadSome(pair.server), "next");
}

GREENLET_TEST(TlsTest, ShutdownWriteComesAfterWhatTryWriteTook) {
  TlsPair pair = TlsPair::Connected();
  const std::string data = Pattern(8 << 20);
  const size_t taken = *pair.client.TryWrite(data);
  ASSERT_TRUE(pair.client.ShutdownWrite().ok());
  const absl::StatusOr<std::string> got = ReadAll(pair.server);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(*got == data.substr(0, taken));
}

GREENLET_TEST(TlsTest, AnEchoByCopyWorks) {
  TlsPair pair = TlsPair::Make();
  const Greenlet<> echo = Spawn([&] {
    EXPECT_TRUE(Copy(pair.server, pair.server).ok());
    EXPECT_TRUE(pair.server.ShutdownWrite().ok());
  });
  const std::string data = Pattern(3 << 20);
  const Greenlet<> writer = Spawn([&] {
    EXPECT_TRUE(pair.client.Write(data).ok());
    EXPECT_TRUE(pair.client.ShutdownWrite().ok());
  });
  EXPECT_TRUE(*ReadAll(pair.client) == data);
  writer.Join();
  echo.Join();
}

// --- what comes in pieces, or wrong ---

// Lets through one byte at a time, and everything by itself.
class Drip final : public Stream {
 public:
  explicit Drip(UnixStream stream) : stream_(std::move(stream)) {}
  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> b) override {
    return stream_.TryRead(b.first(std::min<size_t>(b.size(), 1)));
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override {
    return turn_++ % 2 == 0 ? 0 : stream_.TryWrite(data.substr(0, 1));
  }
  absl::Status ShutdownWrite() override { return stream_.ShutdownWrite(); }
  absl::Status ShutdownRead() override { return stream_.ShutdownRead(); }
  void Close() override { stream_.Close(); }
  bool closed() const override { return stream_.closed(); }
  std::string Describe() const override { return "drip"; }

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> b, Deadline d) override {
    return stream_.Read(b.first(std::min<size_t>(b.size(), 1)), d);
  }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> b,
                                       Deadline d) override {
    return stream_.ReadScatter(b, d);
  }
  absl::Status DoWaitReadable(Deadline d) override { return stream_.WaitReadable(d); }
  absl::Status DoWrite(absl::string_view data, Deadline d) override {
    for (char c : data) {
      if (absl::Status s = stream_.Write({&c, 1}, d); !s.ok()) return s;
      Yield();
    }
    return absl::OkStatus();
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view> p, Deadline d) override {
    return stream_.WriteGather(p, d);
  }

  UnixStream stream_;
  int turn_ = 0;
};

// Nor does what has no data, as tickets, over and over: there may always be more of it.
GREENLET_TEST(TlsTest, ARecordThatComesInPiecesHoldsUpNobody) {
  auto [near, far] = *UnixStream::Pair();
  TlsPair pair{TlsStream(std::move(near), ClientContext(), "a.test"),
               TlsStream(Drip(std::move(far)), ServerContext())};
  pair.MustHandshake();
  ASSERT_TRUE(pair.client.Write(Pattern(16000)).ok());
  int turns = 0;
  bool read = false;
  const Greenlet<> other = Spawn([&] {
    while (!read) {
      ++turns;
      Yield();
    }
  });
  char b[16000];
  EXPECT_EQ(*pair.server.Read(absl::MakeSpan(b)), sizeof b);
  read = true;
  EXPECT_GT(turns, 100);
}

GREENLET_TEST(TlsTest, WorksOverATransportThatCarriesAByteAtATime) {
  auto [near, far] = *UnixStream::Pair();
  TlsPair pair{TlsStream(Drip(std::move(near)), ClientContext(), "a.test"),
               TlsStream(Drip(std::move(far)), ServerContext())};
  pair.MustHandshake();
  const std::string data = Pattern(20000);
  const Greenlet<> writer = Spawn([&] {
    EXPECT_TRUE(pair.client.Write(data).ok());
    EXPECT_EQ(*pair.client.TryWrite("tried"), 5u);
    EXPECT_TRUE(pair.client.ShutdownWrite().ok());
  });
  EXPECT_TRUE(*ReadAll(pair.server) == data + "tried");
  writer.Join();
}

// What Copy() has tried to write may be with TLS still when the end comes: who closes the
// stream behind it cuts nothing off.
GREENLET_TEST(TlsTest, CopyEndsWhenAllHasGoneOut) {
  auto [near, far] = *UnixStream::Pair();
  TlsPair pair{TlsStream(std::move(near), ClientContext(), "a.test"),
               TlsStream(Drip(std::move(far)), ServerContext())};
  pair.MustHandshake();
  const std::string data = Pattern(3000);
  const Greenlet<> echo = Spawn([&] {
    EXPECT_TRUE(Copy(pair.server, pair.server).ok());
    EXPECT_FALSE(pair.server.has_unsent());
    pair.server.Close();
  });
  ASSERT_TRUE(pair.client.Write(data).ok());
  ASSERT_TRUE(pair.client.ShutdownWrite().ok());
  std::string got(data.size(), '\0');
  const absl::Status status = pair.client.ReadExactly(absl::MakeSpan(got));
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(got == data);
  echo.Join();
}

// As through a proxy that is spoken to by TLS itself.
GREENLET_TEST(TlsTest, WorksOverTls) {
  TlsPair outer = TlsPair::Make();
  TlsPair pair{TlsStream(std::move(outer.client), ClientContext(), "a.test"),
               TlsStream(std::move(outer.server), ServerContext())};
  const std::string data = Pattern(3 << 20);
  const Greenlet<> echo = Spawn([&] {
    EXPECT_TRUE(Copy(pair.server, pair.server).ok());
    EXPECT_TRUE(pair.server.ShutdownWrite().ok());
  });
  const Greenlet<> writer = Spawn([&] {
    EXPECT_TRUE(pair.client.Write(absl::string_view(data).substr(0, 2 << 20)).ok());
    EXPECT_TRUE(pair.client
                    .WriteGather({absl::string_view(data).substr(2 << 20, 100),
                                  absl::string_view(data).substr((2 << 20) + 100)})
                    .ok());
    EXPECT_TRUE(pair.client.ShutdownWrite().ok());
  });
  const absl::StatusOr<std::string> got = ReadAll(pair.client);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(*got == data);
  writer.Join();
  echo.Join();
}

// What was sealed twice, and had no room in the transport's transport.
GREENLET_TEST(TlsTest, AWriteOverTlsThatStallsSaysHowMuchIsInRecordsAndGoesOn) {
  TlsPair outer = TlsPair::Connected();
  TlsPair pair{TlsStream(std::move(outer.client), ClientContext(), "a.test"),
               TlsStream(std::move(outer.server), ServerContext())};
  pair.MustHandshake();
  TestAWriteThatStalls(std::move(pair));
}

// Who says that this was all, and who waits until it has gone, are two greenlets.
GREENLET_TEST(TlsTest, AnEndMayBeSaidWhileAWriteOverTlsStalls) {
  for (const size_t size : {size_t{100} << 10, size_t{300} << 10, size_t{1} << 20}) {
    TlsPair outer = TlsPair::Connected();
    TlsPair pair{TlsStream(std::move(outer.client), ClientContext(), "a.test"),
                 TlsStream(std::move(outer.server), ServerContext())};
    pair.MustHandshake();
    const std::string data = Pattern(size);
    const Greenlet<absl::Status> writer = Spawn([&] { return pair.client.Write(data); });
    for (int i = 0; i < 100; ++i) Yield();
    ASSERT_TRUE(pair.client.ShutdownWrite().ok());
    const absl::StatusOr<std::string> got = ReadAll(pair.server);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_TRUE(data.compare(0, got->size(), *got) == 0);
    const absl::Status written = writer.Get();
    EXPECT_EQ(written.ok(), got->size() == size) << written;
  }
}

GREENLET_TEST(TlsTest, ARelayOfNothingButAnEndMakesTheHandshake) {
  auto [near, far] = *UnixStream::Pair();
  TlsPair pair = TlsPair::Make();
  const Greenlet<absl::Status> relay =
      Spawn([&, stream = &far] { return Relay(*stream, pair.client); });
  ASSERT_TRUE(near.ShutdownWrite().ok());
  EXPECT_EQ(*ReadAll(pair.server), "");
  ASSERT_TRUE(pair.server.Write("answer").ok());
  ASSERT_TRUE(pair.server.ShutdownWrite().ok());
  EXPECT_EQ(*ReadAll(near), "answer");
  const absl::Status relayed = relay.Get();
  EXPECT_TRUE(relayed.ok()) << relayed;
}

GREENLET_TEST(TlsTest, GarbageInsteadOfAHandshakeIsSaidToBeNone) {
  struct {
    const char* what;
    std::string bytes;
  } const kCases[] = {
      {"what came is not TLS", "hello, is there somebody who speaks plain text?"},
      {"what came is not TLS", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
      {"too long", std::string("\x16\x03\x01\xff\xff", 5)},
      {"", std::string(100, '\0')},
  };
  for (const auto& c : kCases) {
    TlsPair pair = TlsPair::Make();
    ASSERT_TRUE(pair.client.transport().Write(c.bytes).ok());
    const absl::Status status = pair.server.Handshake();
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status;
    EXPECT_NE(status.message().find(c.what), std::string::npos) << status;
    EXPECT_NE(status.message().find("TLS handshake with "), std::string::npos) << status;
    // What came in clear text is never given out.
    char b[100];
    EXPECT_EQ(pair.server.Read(absl::MakeSpan(b)).status(), status);
    EXPECT_EQ(pair.server.TryRead(absl::MakeSpan(b)).status(), status);
  }
}

GREENLET_TEST(TlsTest, AWrongRecordEndsBothDirections) {
  TlsPair pair = TlsPair::Connected();
  const std::string bad = std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x');
  ASSERT_TRUE(pair.client.transport().Write(bad).ok());
  char b[10];
  const absl::Status status = pair.server.Read(absl::MakeSpan(b)).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status;
  EXPECT_EQ(pair.server.Read(absl::MakeSpan(b)).status(), status);
  EXPECT_EQ(pair.server.Write("x").code(), StatusCode::kDataLoss);
  // The peer is told why.
  const absl::Status told = pair.client.Read(absl::MakeSpan(b)).status();
  EXPECT_NE(told.message().find("bad record mac"), std::string::npos) << told;
}

// More than a record may have (RFC 8446, section 5.2): told by its head, before the
// rest has come. (BoringSSL lets pass 64 bytes more.)
GREENLET_TEST(TlsTest, AnOversizeRecordIsRefusedAtItsHead) {
  TlsPair pair = TlsPair::Connected();
  constexpr uint16_t kTooMuch = (1 << 14) + 256 + 64 + 1;
  const char head[] = {0x17, 0x03, 0x03, char(kTooMuch >> 8), char(kTooMuch & 255)};
  ASSERT_TRUE(pair.client.transport().Write({head, sizeof head}).ok());
  char b[10];
  const absl::Status status = pair.server.Read(absl::MakeSpan(b)).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss) << status;
  EXPECT_NE(status.message().find("too long"), std::string::npos) << status;
}

GREENLET_TEST(TlsTest, OneThatFailsDoesNotDisturbAnother) {
  TlsPair good = TlsPair::Connected();
  for (int i = 0; i < 3; ++i) {
    TlsPair bad = TlsPair::Make();
    const Greenlet<> reader = Spawn([&] { EXPECT_EQ(ReadSome(good.server), "fine"); });
    Yield();
    ASSERT_TRUE(bad.client.transport().Write("garbage, garbage").ok());
    EXPECT_FALSE(bad.server.Handshake().ok());
    ASSERT_TRUE(good.client.Write("fine").ok());
    reader.Join();
  }
}

GREENLET_TEST(TlsTest, ClearTextBeforeTheHandshakeIsRefused) {
  auto [client, server] = *UnixStream::Pair();
  EXPECT_TRUE(CheckNothingArrived(server, "").ok());
  EXPECT_EQ(CheckNothingArrived(server, "MAIL FROM").code(),
            StatusCode::kFailedPrecondition);
  ASSERT_TRUE(client.Write("MAIL FROM").ok());
  const absl::Status injected = CheckNothingArrived(server, "");
  EXPECT_EQ(injected.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(injected.message().find("9 bytes in clear text"), std::string::npos);
}

using TlsDeathTest = GreenletTest;
GREENLET_TEST_F(TlsDeathTest, TwoThatReadAtOnceAreAMistake) {
  TlsPair pair = TlsPair::Connected();
  EXPECT_DEATH(
      {
        const Greenlet<> one = Spawn([&] { ReadSome(pair.client); });
        Yield();
        ReadSome(pair.client);
      },
      "two greenlets read from");
}

// RFC 9525: names are in subjectAltName, and nowhere else.
GREENLET_TEST(TlsNameTest, ACommonNameIsNoName) {
  TlsPair pair = TlsPair::Make(
      ClientContext(),
      ServerContext({.identities = {NewIdentity({.common_name = "a.test"})}}));
  const absl::Status status = pair.Handshake().first;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
}

}  // namespace
}  // namespace grove::net
