// TLS over connections that deliver in pieces, late, and that break: at each byte, and by
// lot. What must hold always: nothing but what was written comes out, in its order; an
// end that nobody has said is no clean end; and everything comes to an end.

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/testing/memory_stream.h"
#include "grove/net/tls.h"
#include "grove/net/tls_test_util.h"

namespace grove::net {
namespace {

// What one side has to say, and what it has heard.
struct Side {
  explicit Side(TlsStream s) : stream(std::move(s)) {}

  void Talk(const std::string& said) {
    const Greenlet<> writer = Spawn([this, &said] {
      written = stream.Write(said);
      if (written.ok()) written = stream.ShutdownWrite();
    });
    std::string buffer(3000, 0);
    for (;;) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
      end = n.status();
      if (!n.ok() || *n == 0) break;
      heard.append(buffer, 0, *n);
    }
    writer.Join();
  }
  // Whether what it heard is what was said, or a beginning of it that is known to be one.
  void Check(const std::string& said) const {
    EXPECT_TRUE(said.substr(0, heard.size()) == heard) << "something else came out";
    if (end.ok()) {
      EXPECT_EQ(heard.size(), said.size()) << "cut, and not told";
    }
  }

  TlsStream stream;
  std::string heard;
  absl::Status written, end;
};

void Converse(const MemoryStreamOptions& options, size_t size, bool may_fail) {
  static const TlsClientContext* const client_context =
      new TlsClientContext(ClientContext({.session_cache = 0}));
  static const TlsServerContext* const server_context =
      new TlsServerContext(ServerContext());
  MemoryStreamPair pair(options);
  Side client(TlsStream(std::move(pair.near), *client_context, "a.test"));
  Side server(TlsStream(std::move(pair.far), *server_context));
  const std::string question = Pattern(size, 1), answer = Pattern(size * 2, 2);
  const Greenlet<> other = Spawn([&] { server.Talk(answer); });
  client.Talk(question);
  other.Join();
  client.Check(answer);
  server.Check(question);
  if (!may_fail) {
    EXPECT_TRUE(client.end.ok()) << client.end;
    EXPECT_TRUE(server.end.ok()) << server.end;
  }
}

GREENLET_TEST(TlsFaultTest, BreaksCleanlyAtEachByte) {
  // A handshake with what is said is some 2,500 bytes.
  for (const StreamFault fault : {StreamFault::kReset, StreamFault::kEnd}) {
    for (uint64_t at = 0; at < 2700; at += 13) {
      Converse({.fault = fault, .fault_after = at}, 100, /*may_fail=*/true);
    }
  }
  Converse({}, 100, /*may_fail=*/false);
}

TEST(TlsFaultSeedsTest, PiecesAndDelaysChangeNothing) {
  ForEachSeed(20, [] {
    const uint64_t seed = *ThisHub().options().seed;
    Converse({.capacity = 5000,
              .seed = seed,
              .min_delay = absl::Microseconds(1),
              .max_delay = absl::Microseconds(300)},
             20000, /*may_fail=*/false);
  });
}

TEST(TlsFaultSeedsTest, BreaksCleanlyByLot) {
  ForEachSeed(60, [] {
    const uint64_t seed = *ThisHub().options().seed;
    Converse({.capacity = 5000,
              .seed = seed,
              .fault = seed % 2 == 0 ? StreamFault::kReset : StreamFault::kEnd,
              .fault_chance = 0.03},
             20000, /*may_fail=*/true);
  });
}

}  // namespace
}  // namespace grove::net
