#pragma once

// What the code in groups.md takes for given.

#include "grove/green/dag_pool.h"
#include "grove/green/greenlet.h"
#include "grove/green/group.h"
#include "grove/green/imap.h"
#include "grove/green/pile.h"
#include "grove/green/pool.h"
#include "grove/green/wait.h"
#include "grove/sync/event.h"

namespace docs_groups {

using namespace grove;

struct Url {};
struct Page {};
struct FetchError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
Page Fetch(const Url& url);
void Store(Page page);
std::vector<Url> AllUrls();
int CountLines(const std::string& text);
int CountWords(const std::string& text);
void Print(int n);
struct Socket {};
void Serve(Socket& socket);
struct Artifact {};
struct Target {
  std::string name;
  std::vector<std::string> depends;
};
Artifact Link(const Target& target, const std::vector<Artifact>& parts);
#define LOG(severity) std::cerr

extern std::vector<Url> urls;
extern std::vector<Greenlet<Page>> fetches;
extern Greenlet<> worker;
extern Event event;
extern Socket socket;
extern Pool pool;
extern std::string a, b;
extern std::vector<Target> targets;

}  // namespace docs_groups
