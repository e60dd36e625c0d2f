// Runs a statement on many MariaDB or MySQL servers, by their blocking client library,
// all at once, on one thread.
//
//   bazel run //examples:patched_mysql -- --user=me --statement='SELECT COUNT(*) FROM t'
//       db1 db2:3307
//
// mysql_real_connect() and mysql_real_query() wait as they always have; after PatchAll()
// it is the greenlet that waits. Look at Run(): a session per greenlet, since the library
// wants nobody else in a session, and all of them at once.
//
// For each row a line: the server, and the values, with tabs between; tabs and ends of
// lines within are written \t and \n, as by `mariadb --batch`. What fails is said
// on stderr, with the server, and the exit status is 1 then. The password is that of the
// environment's MYSQL_PWD.

#include <mariadb/mysql.h>
#include <stdio.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/pool.h"
#include "grove/patch/patch.h"

ABSL_FLAG(std::string, user, "", "who asks");
ABSL_FLAG(std::string, database, "", "of which database");
ABSL_FLAG(std::string, statement, "", "what to run");
ABSL_FLAG(int, at_once, 100, "servers at the same time");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(10),
          "for connecting, and for each answer; whole seconds");

namespace {

using grove::examples::ParseWords;
using grove::examples::Refuse;

struct Free {
  void operator()(MYSQL* c) const { mysql_close(c); }
  void operator()(MYSQL_RES* r) const { mysql_free_result(r); }
};

struct Server {
  std::string name;  // as it was given
  std::string host;
  unsigned port = 3306;
};

Server ParseServer(const std::string& word) {
  Server server = {word, word};
  const size_t colon = word.rfind(':');
  if (colon == word.npos) return server;
  server.host = word.substr(0, colon);
  if (!absl::SimpleAtoi(word.substr(colon + 1), &server.port) || server.port == 0 ||
      server.port > 65535) {
    Refuse(absl::StrCat("no port: ", word));
  }
  return server;
}

bool Fail(const Server& server, MYSQL* c) {
  fprintf(stderr, "%s: %s\n", server.name.c_str(), mysql_error(c));
  return false;
}

void Print(const Server& server, MYSQL_RES* rows) {
  while (const MYSQL_ROW row = mysql_fetch_row(rows)) {
    std::string line = server.name;
    const unsigned long* const sizes = mysql_fetch_lengths(rows);
    for (unsigned i = 0; i < mysql_num_fields(rows); ++i) {
      const std::string value =
          row[i] ? absl::StrReplaceAll(absl::string_view(row[i], sizes[i]),
                                       {{"\\", "\\\\"},
                                        {"\t", "\\t"},
                                        {"\n", "\\n"},
                                        {absl::string_view("\0", 1), "\\0"}})
                 : "NULL";
      absl::StrAppend(&line, "\t", value);
    }
    puts(line.c_str());
  }
}

// Whether it went well.
bool Run(const Server& server) {
  const std::unique_ptr<MYSQL, Free> c(mysql_init(nullptr));
  if (!c) return false;
  const auto seconds =
      static_cast<unsigned>(absl::ToInt64Seconds(absl::GetFlag(FLAGS_timeout)));
  for (const mysql_option option :
       {MYSQL_OPT_CONNECT_TIMEOUT, MYSQL_OPT_READ_TIMEOUT, MYSQL_OPT_WRITE_TIMEOUT}) {
    mysql_options(c.get(), option, &seconds);
  }
  // By name, "localhost" would be the library's own socket, whatever the port.
  const mysql_protocol_type tcp = MYSQL_PROTOCOL_TCP;
  mysql_options(c.get(), MYSQL_OPT_PROTOCOL, &tcp);
  const std::string database = absl::GetFlag(FLAGS_database);
  if (mysql_real_connect(c.get(), server.host.c_str(), absl::GetFlag(FLAGS_user).c_str(),
                         getenv("MYSQL_PWD"),
                         database.empty() ? nullptr : database.c_str(), server.port,
                         nullptr, 0) == nullptr) {
    return Fail(server, c.get());
  }
  const std::string statement = absl::GetFlag(FLAGS_statement);
  if (mysql_real_query(c.get(), statement.data(), statement.size()) != 0) {
    return Fail(server, c.get());
  }
  const std::unique_ptr<MYSQL_RES, Free> rows(mysql_store_result(c.get()));
  if (rows) Print(server, rows.get());
  return rows || mysql_field_count(c.get()) == 0 || Fail(server, c.get());
}

}  // namespace

int main(int argc, char** argv) {
  grove::patch::PatchAll();  // first, before there are other threads
  std::vector<Server> servers;
  for (const std::string& word :
       ParseWords(argc, argv,
                  "Runs a statement on many servers by MariaDB's client, all at once.\n"
                  "  patched_mysql --statement=SQL [--user=NAME] [--database=NAME] "
                  "[--at_once=100] [--timeout=10s] HOST[:PORT]...\n"
                  "The password is in the environment, as MYSQL_PWD.")) {
    servers.push_back(ParseServer(word));
  }
  if (absl::GetFlag(FLAGS_at_once) < 1) Refuse("--at_once: at least one is needed");
  if (absl::GetFlag(FLAGS_timeout) < absl::Seconds(1)) {
    Refuse("--timeout: the library counts in whole seconds");
  }
  if (absl::GetFlag(FLAGS_statement).empty()) Refuse("no --statement (see --help)");
  if (servers.empty()) Refuse("no servers (see --help)");

  if (mysql_library_init(0, nullptr, nullptr) != 0) Refuse("the library does not begin");
  bool all = true;
  grove::Pool pool(absl::GetFlag(FLAGS_at_once));
  for (const Server& server : servers) {
    pool.Spawn([&] { all = Run(server) && all; });
  }
  pool.Join();
  mysql_library_end();
  return all ? 0 : 1;
}
