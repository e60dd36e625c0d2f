#pragma once

// What the code in threads.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/thread_pool.h"
#include "grove/green/wait.h"

namespace docs_threads {

using namespace grove;

absl::Status SyncFile(int fd);
absl::StatusOr<std::string> ReadAll(const std::string& path);
struct Row {};
struct Rows {};
struct Client {
  absl::StatusOr<Row> Query(const std::string& sql);
};
struct Image {};
Image Decode(const std::string& path);
void Show(const Image& image);
struct User {};
User FetchUser(int id);
struct Answer {};
Answer SlowLibrary(const std::string& query);
struct Db {
  explicit Db(const std::string& path);
  Rows Query(const std::string& sql);
  void Begin();
  void Insert(const Row& row);
  void Commit();
};

extern int fd;
extern Client client;
extern std::string sql;
#undef DOCS_PARAMETERS
#define DOCS_PARAMETERS std::string path, std::string query, int id
extern std::vector<std::string> paths;
extern ThreadPool pool;
extern Row row;

}  // namespace docs_threads
