#ifndef GROVE_NET_CONNECTION_POOL_MAP_H_
#define GROVE_NET_CONNECTION_POOL_MAP_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/hub/deadline.h"
#include "grove/net/connection_pool.h"

namespace grove::net {

// ConnectionPoolMap
//
// A ConnectionPool for each of many servers, made when its key is first asked for, and
// forgotten once it has no connection any more and another key comes.
//
//   ConnectionPoolMap<std::string, TcpStream> pools([&](const std::string& host) {
//     return ConnectionPool<TcpStream>::Options{
//         .connect = [=](Deadline d) { return Dial(host, 80, {.deadline = d}); },
//         .max_size = 4,                              // of this server
//         .idle_timeout = absl::Seconds(30)};
//   });
//   auto lease = pools.Get("example.com", absl::Seconds(1));
//
// Limits are those of each pool: one server that does not answer takes nothing from the
// others. A Key is compared by <.
//
// Threads: the hub that made it.
template <typename Key, typename T>
class ConnectionPoolMap {
 public:
  using Pool = ConnectionPool<T>;
  using Lease = typename Pool::Lease;

  explicit ConnectionPoolMap(
      std::function<typename Pool::Options(const Key& key)> options_of)
      : options_of_(std::move(options_of)) {}
  ConnectionPoolMap(const ConnectionPoolMap&) = delete;
  ConnectionPoolMap& operator=(const ConnectionPoolMap&) = delete;
  // As the pools' destructors.

  // ConnectionPoolMap::Get()
  //
  // Contract as ConnectionPool::Get().
  absl::StatusOr<Lease> Get(const Key& key, Deadline deadline = {}) {
    if (closed_) return Closed();
    Pool& pool = PoolOf(key);
    if (closed_) return Closed();  // meanwhile
    return pool.Get(deadline);
  }

  // ConnectionPoolMap::Close()
  //
  // ConnectionPool::Close() of all; the sum of what they return.
  size_t Close(Deadline deadline = {}) {
    closed_ = true;
    // First all at once: nobody waits for a place that will not come.
    for (const auto& [key, pool] : pools_) pool->Close(Deadline::Passed());
    size_t left = 0;
    for (const auto& [key, pool] : pools_) left += pool->Close(deadline);
    return left;
  }

  // How many servers there are pools for, and what each has done.
  size_t size() const { return pools_.size(); }
  std::map<Key, ConnectionPoolStatistics> statistics() const {
    std::map<Key, ConnectionPoolStatistics> all;
    for (const auto& [key, pool] : pools_) all.emplace(key, pool->statistics());
    return all;
  }

 private:
  static absl::Status Closed() {
    return absl::FailedPreconditionError("connection pools: they are closed");
  }

  Pool& PoolOf(const Key& key) {
    if (const auto it = pools_.find(key); it != pools_.end()) return *it->second;
    // Out of the map first: the end of a pool may block.
    std::vector<std::unique_ptr<Pool>> unused;
    for (auto it = pools_.begin(); it != pools_.end();) {
      const ConnectionPoolStatistics s = it->second->statistics();
      if (s.size > 0 || s.waiting > 0) {
        ++it;
        continue;
      }
      unused.push_back(std::move(it->second));
      it = pools_.erase(it);
    }
    unused.clear();
    auto pool = std::make_unique<Pool>(options_of_(key));
    // Unless somebody else has made it meanwhile.
    return *pools_.try_emplace(key, std::move(pool)).first->second;
  }

  const std::function<typename Pool::Options(const Key& key)> options_of_;
  std::map<Key, std::unique_ptr<Pool>> pools_;
  bool closed_ = false;
};

}  // namespace grove::net

#endif  // GROVE_NET_CONNECTION_POOL_MAP_H_
