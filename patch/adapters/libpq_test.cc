// The distribution's libpq with a real PostgreSQL: a thousand sessions on one hub.

#include <gtest/gtest.h>
#include <postgresql/libpq-fe.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/adapters/adapter_test.h"
#include "grove/patch/adapters/postgres_server.h"

namespace grove::patch {
namespace {

// Each is a process of the server's: together about 1.4 GB.
constexpr int kSessions = 1000;

struct Free {
  void operator()(PGconn* c) const { PQfinish(c); }
  void operator()(PGresult* r) const { PQclear(r); }
};
using Connection = std::unique_ptr<PGconn, Free>;
using Result = std::unique_ptr<PGresult, Free>;

class LibpqTest : public AdapterTest {
 protected:
  void SetUp() override {
    server_ = std::make_unique<PostgresServer>(kSessions + 20);
    ASSERT_TRUE(server_->ready());
    target_ = "host=127.0.0.1 port=" + server_->port() + " user=me dbname=postgres";
  }
  void TearDown() override { server_.reset(); }

  Connection Connect() {
    Connection c(PQconnectdb(target_.c_str()));
    EXPECT_EQ(PQstatus(c.get()), CONNECTION_OK) << PQerrorMessage(c.get());
    return c;
  }
  // The first value of the first row.
  static std::string Query(const Connection& c, const std::string& sql) {
    const Result r(PQexec(c.get(), sql.c_str()));
    EXPECT_EQ(PQresultStatus(r.get()), PGRES_TUPLES_OK) << PQerrorMessage(c.get());
    return PQntuples(r.get()) > 0 ? PQgetvalue(r.get(), 0, 0) : "";
  }

  // All wait for a lock that the main greenlet holds, and that it could not give back if
  // one of them stopped the thread.
  void AllWaitForALockAtOnce(int count) {
    const Connection main = Connect();
    Query(main, "SELECT pg_advisory_lock(1)");
    int got = 0;
    std::vector<Greenlet<>> sessions;
    for (int i = 0; i < count; ++i) {
      sessions.push_back(Spawn([&] {
        const Connection c = Connect();
        Query(c, "SELECT pg_advisory_lock_shared(1)");
        ++got;
      }));
    }
    while (Query(main,
                 "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
                 "AND NOT granted") != std::to_string(count)) {
      Yield();
    }
    EXPECT_EQ(got, 0);
    EXPECT_EQ(Query(main, "SELECT pg_advisory_unlock(1)"), "t");
    for (const auto& session : sessions) session.Join();
    EXPECT_EQ(got, count);
  }

  std::string target_;
  std::unique_ptr<PostgresServer> server_;
};

GREENLET_TEST_F(LibpqTest, AHundredSessionsQueryAtOnce) {
  std::vector<Greenlet<>> sessions;
  for (int i = 0; i < 100; ++i) {
    sessions.push_back(Spawn([this, i] {
      const Connection c = Connect();
      for (int round = 0; round < 10; ++round) {
        EXPECT_EQ(Query(c, "SELECT " + std::to_string(i + round)),
                  std::to_string(i + round));
      }
    }));
  }
  for (const auto& session : sessions) session.Join();
}

GREENLET_TEST_F(LibpqTest, AHundredWaitForALockAtOnce) { AllWaitForALockAtOnce(100); }

GREENLET_TEST_F(LibpqTest, AThousandWaitForALockAtOnce) {
  AllWaitForALockAtOnce(kSessions);
}

GREENLET_TEST_F(LibpqTest, AServerThatIsNotThereSaysSo) {
  const Connection c(
      PQconnectdb(("host=127.0.0.1 port=" + std::to_string(FreePort())).c_str()));
  EXPECT_EQ(PQstatus(c.get()), CONNECTION_BAD);
  EXPECT_NE(std::string(PQerrorMessage(c.get())).find("Connection refused"),
            std::string::npos);
}

}  // namespace
}  // namespace grove::patch
