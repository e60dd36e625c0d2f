// Many greenlets that query PostgreSQL by libpq, over a few connections.
//
//   bazel run //examples:postgres_pool -- --connection='host=127.0.0.1 user=me
//   dbname=postgres'
//
// libpq knows nothing of greenlets: a query blocks its thread. After PatchAll() it stops
// the greenlet instead, and the distribution's own libpq is used as it is.
//
// Look at main(): ConnectionPool makes connections as they are needed, at most --pool of
// them, and lends them to whoever has waited longest; and at Ask(): a connection on which
// a query has failed is discarded, and the query, which changes nothing, is made again on
// another one. So a restart of the server is not noticed by more than those queries.

#include <postgresql/libpq-fe.h>
#include <stdio.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/pool.h"
#include "grove/net/connection_pool.h"
#include "grove/patch/patch.h"

ABSL_FLAG(std::string, connection, "", "what libpq is to connect to; see its manual");
ABSL_FLAG(int, pool, 5, "connections, at most");
ABSL_FLAG(int, greenlets, 100, "greenlets that query");
ABSL_FLAG(int, queries, 1000, "queries, all together");
ABSL_FLAG(absl::Duration, work, absl::ZeroDuration(),
          "how long the server takes for each");
ABSL_FLAG(int, tries, 10, "how often a query is made that fails with its connection");
ABSL_FLAG(absl::Duration, patience, absl::Seconds(30),
          "how long a query may wait for a connection");

namespace {

using grove::examples::ParseFlags;
using grove::examples::Refuse;

struct Free {
  void operator()(PGconn* c) const { PQfinish(c); }
  void operator()(PGresult* r) const { PQclear(r); }
};
using Connection = std::unique_ptr<PGconn, Free>;
using Result = std::unique_ptr<PGresult, Free>;
using Pool = grove::net::ConnectionPool<Connection>;

// libpq has no deadline, but for connect_timeout, which the connection string may have:
// so it goes before.
absl::StatusOr<Connection> Connect(grove::Deadline deadline) {
  const absl::Duration left = std::min(deadline.Remaining(), absl::Hours(1));
  const std::string seconds =
      absl::StrCat(std::max<int64_t>(2, absl::ToInt64Seconds(left)));
  const std::string connection = absl::GetFlag(FLAGS_connection);
  const char* const names[] = {"connect_timeout", "dbname", nullptr};
  const char* const values[] = {seconds.c_str(), connection.c_str(), nullptr};
  Connection c(PQconnectdbParams(names, values, /*expand_dbname=*/1));
  // What the server remarks without being asked would go to stderr.
  PQsetNoticeProcessor(
      c.get(), [](void*, const char*) {}, nullptr);
  if (PQstatus(c.get()) == CONNECTION_OK) return c;
  return absl::UnavailableError(absl::StripAsciiWhitespace(PQerrorMessage(c.get())));
}

struct Reply {
  int64_t twice;
  std::string backend;
};

// Twice `n`, by the server. kUnavailable if the connection is broken.
absl::StatusOr<Reply> Query(Connection& c, int64_t n) {
  const std::string number = absl::StrCat(n);
  const std::string seconds =
      absl::StrCat(absl::ToDoubleSeconds(absl::GetFlag(FLAGS_work)));
  const char* const values[] = {number.c_str(), seconds.c_str()};
  const Result r(PQexecParams(
      c.get(), "SELECT $1::bigint * 2, pg_backend_pid() FROM pg_sleep($2::float8)", 2,
      nullptr, values, nullptr, nullptr, 0));
  if (PQresultStatus(r.get()) == PGRES_TUPLES_OK) {
    return Reply{strtoll(PQgetvalue(r.get(), 0, 0), nullptr, 10),
                 PQgetvalue(r.get(), 0, 1)};
  }
  const absl::string_view why = absl::StripAsciiWhitespace(PQerrorMessage(c.get()));
  return PQstatus(c.get()) == CONNECTION_OK ? absl::InternalError(why)
                                            : absl::UnavailableError(why);
}

absl::StatusOr<Reply> Ask(Pool& pool, int64_t n) {
  absl::Status failed;
  for (int i = 0; i < absl::GetFlag(FLAGS_tries); ++i) {
    absl::StatusOr<Pool::Lease> lease = pool.Get(absl::GetFlag(FLAGS_patience));
    if (!lease.ok()) return lease.status();
    absl::StatusOr<Reply> reply = Query(**lease, n);
    if (reply.ok()) return reply;
    failed = reply.status();
    if (!absl::IsUnavailable(failed)) break;  // another connection would not help
    lease->Discard();
  }
  return failed;
}

}  // namespace

int main(int argc, char** argv) {
  grove::patch::PatchAll();  // first, before there are other threads
  ParseFlags(
      argc, argv,
      "Queries PostgreSQL from many greenlets, over a few connections.\n"
      "  postgres_pool --connection='host=... user=...' [--pool=5] "
      "[--greenlets=100] [--queries=1000] [--work=0s] [--tries=10] [--patience=30s]");
  for (const auto& [name, value] :
       {std::pair("--pool", absl::GetFlag(FLAGS_pool)),
        std::pair("--greenlets", absl::GetFlag(FLAGS_greenlets)),
        std::pair("--tries", absl::GetFlag(FLAGS_tries))}) {
    if (value < 1) Refuse(absl::StrCat(name, ": at least one is needed"));
  }

  if (absl::GetFlag(FLAGS_queries) < 0) Refuse("--queries: less than none");

  Pool pool({
      .connect = &Connect,
      // What the server has said meanwhile, its end most likely, is looked at first.
      .is_alive =
          [](Connection& c) {
            return PQconsumeInput(c.get()) == 1 && PQstatus(c.get()) == CONNECTION_OK;
          },
      .max_size = static_cast<size_t>(absl::GetFlag(FLAGS_pool)),
      .max_lifetime = absl::Minutes(30),
      .name = "postgres",
  });
  int64_t right = 0;
  std::set<std::string> backends;
  absl::Status failed;
  grove::Pool greenlets(absl::GetFlag(FLAGS_greenlets));
  for (int64_t i = 0; i < absl::GetFlag(FLAGS_queries); ++i) {
    greenlets.Spawn([&, i] {
      const absl::StatusOr<Reply> reply = Ask(pool, i);
      if (!reply.ok()) {
        failed.Update(reply.status());
      } else if (reply->twice == 2 * i) {
        ++right;
        backends.insert(reply->backend);
      } else {
        failed.Update(absl::DataLossError("an answer to another question"));
      }
    });
  }
  greenlets.Join();
  const grove::net::ConnectionPoolStatistics statistics = pool.statistics();
  pool.Close();
  printf("%lld queries by %zu sessions; %llu were discarded, %llu found broken\n",
         static_cast<long long>(right), backends.size(),
         static_cast<unsigned long long>(statistics.discarded),
         static_cast<unsigned long long>(statistics.broken));
  if (!failed.ok()) {
    fprintf(stderr, "postgres_pool: %s\n", failed.ToString().c_str());
    return 1;
  }
  return 0;
}
