#pragma once

// What the code in task_groups.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/task_group.h"

namespace docs_task_groups {

using namespace grove;

struct Request {};
struct User {};
struct News {};
struct Page {
  Page(const User& user, const News& news);
};
absl::StatusOr<User> FetchUser(const Request& request);
absl::StatusOr<News> FetchNews(const Request& request);
absl::StatusOr<Page> Render(const Request& request);
struct Peer {};
struct Answer {};
absl::StatusOr<Answer> Ask(const Peer& peer);
extern std::vector<Peer> peers;
extern Request request;

}  // namespace docs_task_groups
