#include "grove/net/internal/tls_session_cache.h"

#include <utility>

namespace grove::net::tls_internal {
namespace {

// Servers send two as a rule; a few connections at once can then resume.
constexpr size_t kPerServer = 4;

}  // namespace

void SessionCache::Put(const std::string& server, bssl::UniquePtr<SSL_SESSION> session) {
  if (servers_ == 0) return;
  const std::lock_guard lock(mutex_);
  auto [found, is_new] = by_server_.try_emplace(server);
  if (is_new) {
    entries_.push_front({.server = server, .sessions = {}});
    found->second = entries_.begin();
  } else {
    entries_.splice(entries_.begin(), entries_, found->second);
  }
  auto& sessions = entries_.front().sessions;
  if (sessions.size() == kPerServer) sessions.erase(sessions.begin());
  sessions.push_back(std::move(session));
  if (entries_.size() > servers_) {
    by_server_.erase(entries_.back().server);
    entries_.pop_back();
  }
}

bssl::UniquePtr<SSL_SESSION> SessionCache::Take(const std::string& server) {
  const std::lock_guard lock(mutex_);
  const auto found = by_server_.find(server);
  if (found == by_server_.end() || found->second->sessions.empty()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  auto& sessions = found->second->sessions;
  if (!SSL_SESSION_should_be_single_use(sessions.back().get())) {
    return bssl::UpRef(sessions.back());
  }
  bssl::UniquePtr<SSL_SESSION> session = std::move(sessions.back());
  sessions.pop_back();
  return session;
}

}  // namespace grove::net::tls_internal
