#ifndef GROVE_NET_INTERNAL_TLS_SESSION_CACHE_H_
#define GROVE_NET_INTERNAL_TLS_SESSION_CACHE_H_

#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "openssl/ssl.h"

namespace grove::net::tls_internal {

// SessionCache
//
// A client's sessions, by the name of the server, for so many servers: the one that was
// asked for least recently makes room.
//
// Threads: any.
class SessionCache {
 public:
  explicit SessionCache(size_t servers) : servers_(servers) {}

  void Put(const std::string& server, bssl::UniquePtr<SSL_SESSION> session);

  // SessionCache::Take()
  //
  // The newest for that server; null if there is none. One of TLS 1.3 is given away once:
  // two connections that show the same ticket could be told to be the same client's.
  bssl::UniquePtr<SSL_SESSION> Take(const std::string& server);

 private:
  struct Entry {
    std::string server;
    std::vector<bssl::UniquePtr<SSL_SESSION>> sessions;  // the newest last
  };

  const size_t servers_;
  std::mutex mutex_;          // held across no call that blocks
  std::list<Entry> entries_;  // the one that was used last is in front
  std::unordered_map<std::string, std::list<Entry>::iterator> by_server_;
};

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_SESSION_CACHE_H_
