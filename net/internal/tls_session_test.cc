#include "grove/net/internal/tls_session.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/tls_test_util.h"
#include "grove/net/unix.h"
#include "openssl/err.h"

// What is below TlsStream, and cannot be asked for there.
namespace grove::net::tls_internal {
namespace {

class TlsSessionTest : public GreenletTest {
 protected:
  void SetUp() override {
    auto [near, far] = *UnixStream::Pair();
    client_ = std::make_shared<Session>(std::make_unique<UnixStream>(std::move(near)),
                                        ClientContext().state(), "a.test");
    server_ = std::make_shared<Session>(std::make_unique<UnixStream>(std::move(far)),
                                        ServerContext().state());
    const Greenlet<absl::Status> other = Spawn([this] { return server_->Handshake({}); });
    ASSERT_TRUE(client_->Handshake({}).ok());
    ASSERT_TRUE(other.Get().ok());
  }
  void TearDown() override {
    client_->Close();
    server_->Close();
    client_ = nullptr;
    server_ = nullptr;
  }

  static void UpdateKeys(Session& session) {
    EXPECT_TRUE(
        SSL_key_update(const_cast<SSL*>(session.ssl()), SSL_KEY_UPDATE_REQUESTED));
  }

  std::shared_ptr<Session> client_, server_;
};

// Each side's reads make it write something, while its other greenlet writes too.
GREENLET_TEST_F(TlsSessionTest, KeysChangeWhileBothSidesReadAndWrite) {
  const std::string data = Pattern(2 << 20);
  const auto write = [&](Session& session) {
    absl::string_view rest = data;
    for (int i = 0; !rest.empty(); ++i) {
      if (i % 3 == 0) UpdateKeys(session);
      const absl::string_view piece = rest.substr(0, 50001);
      const absl::Status status = session.Write({piece}, {});
      ASSERT_TRUE(status.ok()) << status;
      rest.remove_prefix(piece.size());
    }
    EXPECT_TRUE(session.ShutdownWrite().ok());
  };
  const auto read = [&](Session& session) {
    std::string got;
    std::string buffer(30000, 0);
    for (;;) {
      const absl::StatusOr<size_t> n = session.Read({absl::MakeSpan(buffer)}, {});
      ASSERT_TRUE(n.ok()) << n.status();
      if (*n == 0) break;
      got.append(buffer, 0, *n);
    }
    EXPECT_TRUE(got == data);
  };
  const Greenlet<> all[] = {
      Spawn([&] { write(*client_); }), Spawn([&] { write(*server_); }),
      Spawn([&] { read(*client_); }), Spawn([&] { read(*server_); })};
  for (const Greenlet<>& g : all) g.Join();
}

// The queue of errors is the thread's. What others leave there is nobody's here.
GREENLET_TEST_F(TlsSessionTest, AStrangersErrorInTheQueueIsNotTakenForOurs) {
  const auto leave_one = [] { ERR_put_error(ERR_LIB_SSL, 0, SSL_R_BAD_ALERT, "x", 1); };
  char b[10];
  const Greenlet<absl::StatusOr<size_t>> reader = Spawn([&] {
    leave_one();
    return server_->Read({absl::MakeSpan(b)}, {});
  });
  Yield();
  leave_one();
  ASSERT_TRUE(client_->Write({"hello"}, {}).ok());
  leave_one();
  const absl::StatusOr<size_t> n = reader.Get();
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_EQ(absl::string_view(b, *n), "hello");
  leave_one();
  EXPECT_EQ(*client_->TryRead(absl::MakeSpan(b)), std::nullopt);
  leave_one();
  EXPECT_EQ(*client_->TryWrite("x"), 1u);
  leave_one();
  EXPECT_TRUE(client_->ShutdownWrite().ok());
  leave_one();
  EXPECT_EQ(*server_->Read({absl::MakeSpan(b)}, {}), 1u);
  leave_one();
  EXPECT_EQ(*server_->Read({absl::MakeSpan(b)}, {}), 0u);
  ERR_clear_error();
}

}  // namespace
}  // namespace grove::net::tls_internal
