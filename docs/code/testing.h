#pragma once

// What the code in testing.md takes for given.

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"

namespace docs_testing {

using namespace grove;

// A cache of texts by key, each for as long as `ttl`.
class Cache {
 public:
  struct Options {
    absl::Duration ttl;
  };

  explicit Cache(Options options) : options_(options) {}

  void Put(std::string key, std::string value) {
    entries_[std::move(key)] = {std::move(value), Deadline(options_.ttl)};
  }
  std::optional<std::string> Get(const std::string& key) const {
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.until.HasPassed()) return std::nullopt;
    return found->second.value;
  }

 private:
  struct Entry {
    std::string value;
    Deadline until;
  };

  Options options_;
  std::map<std::string, Entry> entries_;
};

class Counter {
 public:
  void Increment() { ++value_; }
  int value() const { return value_; }

 private:
  int value_ = 0;
};

inline void Serve() { Sleep(absl::InfiniteDuration()); }
Hub& hub();
extern Greenlet<> done;

}  // namespace docs_testing
