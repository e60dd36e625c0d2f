#include "grove/patch/adapters/postgres_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/os/run.h"

namespace grove::patch {
namespace {

std::string NewestPrograms() {
  std::string newest;
  std::error_code none;
  for (const auto& entry :
       std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
    const std::string path = entry.path().string() + "/bin";
    if (std::filesystem::exists(path + "/postgres")) newest = std::max(newest, path);
  }
  EXPECT_NE(newest, "") << "PostgreSQL is not installed (package postgresql)";
  return newest;
}

}  // namespace

PostgresServer::PostgresServer(int max_connections)
    : programs_(NewestPrograms()),
      folder_(EmptyFolder("pg")),
      port_(absl::StrCat(FreePort())) {
  const std::string data = folder_ + "/data";
  std::vector<std::string> init = NotAsRoot("postgres");
  std::vector<std::string> serve = init;
  const std::vector<std::string> init_args = {
      programs_ + "/initdb", "-D", data, "-A", "trust", "-U", "me", "--no-sync"};
  init.insert(init.end(), init_args.begin(), init_args.end());
  const absl::StatusOr<std::string> done = CheckOutput(init);
  EXPECT_TRUE(done.ok()) << done.status();
  if (!done.ok()) return;
  const std::vector<std::string> serve_args = {
      programs_ + "/postgres",
      "-D",
      data,
      "-k",
      "",
      "-p",
      port_,
      "-c",
      "listen_addresses=127.0.0.1",
      "-c",
      "fsync=off",
      "-c",
      "shared_buffers=16MB",
      "-c",
      "huge_pages=off",
      "-c",
      "autovacuum=off",
      "-c",
      absl::StrCat("max_connections=", max_connections)};
  serve.insert(serve.end(), serve_args.begin(), serve_args.end());
  server_ = std::make_unique<RealServer>(serve, "ready to accept connections");
}

PostgresServer::~PostgresServer() {
  server_.reset();
  std::filesystem::remove_all(folder_);
}

}  // namespace grove::patch
