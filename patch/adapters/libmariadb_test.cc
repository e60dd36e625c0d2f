// The distribution's MariaDB client library with a real MariaDB: a thousand sessions on
// one hub.

#include <gtest/gtest.h>
#include <mariadb/mysql.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/adapters/adapter_test.h"

namespace grove::patch {
namespace {

struct Free {
  void operator()(MYSQL* c) const { mysql_close(c); }
  void operator()(MYSQL_RES* r) const { mysql_free_result(r); }
};
using Connection = std::unique_ptr<MYSQL, Free>;
using Result = std::unique_ptr<MYSQL_RES, Free>;

class LibmariadbTest : public AdapterTest {
 protected:
  static void SetUpTestSuite() {
    AdapterTest::SetUpTestSuite();
    ASSERT_EQ(mysql_library_init(0, nullptr, nullptr), 0);
  }
  static void TearDownTestSuite() { mysql_library_end(); }

  void SetUp() override {
    folder_ = EmptyFolder("my");
    port_ = static_cast<unsigned>(FreePort());
    std::vector<std::string> serve = NotAsRoot("mysql");
    // An empty folder is enough for a server that asks nobody who they are. Its socket is
    // in there, too, by a short name: whole ones have at most 107 characters.
    for (const std::string& arg :
         {std::string("/usr/sbin/mariadbd"), std::string("--no-defaults"),
          "--datadir=" + folder_, "--pid-file=" + folder_ + "/pid",
          std::string("--socket=socket"), std::string("--bind-address=127.0.0.1"),
          "--port=" + std::to_string(port_), std::string("--skip-grant-tables"),
          std::string("--max-connections=1100"), std::string("--back-log=1100"),
          std::string("--innodb-flush-log-at-trx-commit=0"),
          std::string("--innodb-use-native-aio=0"),
          std::string("--innodb-buffer-pool-size=8M"),
          std::string("--innodb-log-file-size=4M"),
          std::string("--innodb-data-file-path=ibdata1:4M:autoextend"),
          std::string("--key-buffer-size=64K"),
          std::string("--performance-schema=OFF")}) {
      serve.push_back(arg);
    }
    server_ = std::make_unique<RealServer>(serve, "ready for connections");
    ASSERT_TRUE(server_->ready());
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  Connection Connect() const {
    Connection c(mysql_init(nullptr));
    EXPECT_NE(mysql_real_connect(c.get(), "127.0.0.1", "me", nullptr, nullptr, port_,
                                 nullptr, 0),
              nullptr)
        << mysql_error(c.get());
    return c;
  }
  // The first value of the first row.
  static std::string Query(const Connection& c, const std::string& sql) {
    EXPECT_EQ(mysql_real_query(c.get(), sql.data(), sql.size()), 0)
        << mysql_error(c.get());
    const Result r(mysql_store_result(c.get()));
    const MYSQL_ROW row = r ? mysql_fetch_row(r.get()) : nullptr;
    return row && row[0] ? row[0] : "";
  }

  // All wait for a lock that the main greenlet holds, and that it could not give back if
  // one of them stopped the thread.
  void AllWaitForALockAtOnce(int count) const {
    const Connection main = Connect();
    ASSERT_EQ(Query(main, "SELECT GET_LOCK('gate', 0)"), "1");
    int got = 0;
    std::vector<Greenlet<>> sessions;
    for (int i = 0; i < count; ++i) {
      sessions.push_back(Spawn([&] {
        const Connection c = Connect();
        EXPECT_EQ(Query(c, "SELECT GET_LOCK('gate', 300)"), "1");
        ++got;
        EXPECT_EQ(Query(c, "SELECT RELEASE_LOCK('gate')"), "1");
      }));
    }
    while (Query(main,
                 "SELECT COUNT(*) FROM information_schema.processlist "
                 "WHERE state = 'User lock'") != std::to_string(count)) {
      Yield();
    }
    EXPECT_EQ(got, 0);
    EXPECT_EQ(Query(main, "SELECT RELEASE_LOCK('gate')"), "1");
    for (const auto& session : sessions) session.Join();
    EXPECT_EQ(got, count);
  }

  std::string folder_;
  unsigned port_ = 0;
  std::unique_ptr<RealServer> server_;
};

GREENLET_TEST_F(LibmariadbTest, AHundredSessionsQueryAtOnce) {
  std::vector<Greenlet<>> sessions;
  for (int i = 0; i < 100; ++i) {
    sessions.push_back(Spawn([this, i] {
      const Connection c = Connect();
      for (int round = 0; round < 10; ++round) {
        EXPECT_EQ(Query(c, "SELECT " + std::to_string(i + round)),
                  std::to_string(i + round));
      }
      // More than one packet of the network's.
      EXPECT_EQ(Query(c, "SELECT REPEAT('x', 300000)"), std::string(300'000, 'x'));
    }));
  }
  for (const auto& session : sessions) session.Join();
}

GREENLET_TEST_F(LibmariadbTest, AHundredWaitForALockAtOnce) {
  AllWaitForALockAtOnce(100);
}

GREENLET_TEST_F(LibmariadbTest, AThousandWaitForALockAtOnce) {
  AllWaitForALockAtOnce(1000);
}

GREENLET_TEST_F(LibmariadbTest, AServerThatIsNotThereSaysSo) {
  const Connection c(mysql_init(nullptr));
  EXPECT_EQ(mysql_real_connect(c.get(), "127.0.0.1", "me", nullptr, nullptr,
                               static_cast<unsigned>(FreePort()), nullptr, 0),
            nullptr);
  EXPECT_NE(std::string(mysql_error(c.get())).find("Can't connect to server"),
            std::string::npos)
      << mysql_error(c.get());
}

GREENLET_TEST_F(LibmariadbTest, AKillEndsAQuery) {
  const Connection main = Connect();
  ASSERT_EQ(Query(main, "SELECT GET_LOCK('gate', 0)"), "1");
  const Greenlet<> client = Spawn([this] {
    const Connection c = Connect();
    EXPECT_NE(mysql_query(c.get(), "SELECT GET_LOCK('gate', 300)"), 0);
    Sleep(absl::InfiniteDuration());
  });
  while (Query(main,
               "SELECT COUNT(*) FROM information_schema.processlist "
               "WHERE state = 'User lock'") != "1") {
    Yield();
  }
  client.Kill();
  EXPECT_TRUE(client.killed());
}

}  // namespace
}  // namespace grove::patch
