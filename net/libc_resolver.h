#ifndef GROVE_NET_LIBC_RESOLVER_H_
#define GROVE_NET_LIBC_RESOLVER_H_

#include <string>

#include "absl/status/statusor.h"
#include "grove/green/thread_pool.h"
#include "grove/net/resolver.h"

// libc's own resolver: whatever nsswitch.conf(5), gai.conf(5) and the modules that those
// name say, by getaddrinfo(3), getnameinfo(3) and, for SRV, TXT and MX, res_nsend(3).
// Nothing says how long an answer is good, so that its ttl is infinite; but for those of
// res_nsend().
namespace grove::net {

// ThreadedResolver
//
// Calls libc on threads of a pool. Lookups that are given up go on there until libc has
// done, which is ten seconds and more when a server is down, and hold a thread meanwhile:
// give them a pool of their own.
//
//   SetDefaultResolver(std::make_unique<ThreadedResolver>());   // of this hub
//
// Deadline, Kill: end the wait at once, and a lookup that has not begun never does.
// Threads: any.
class ThreadedResolver final : public Resolver {
 public:
  explicit ThreadedResolver(ThreadPool* pool = &ThreadPool::Named("resolver"))
      : pool_(pool) {}

  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) override;
  std::string Describe() const override { return "libc, on threads"; }

 private:
  ThreadPool* const pool_;
};

// BlockingResolver
//
// Calls libc right here, and stops the hub meanwhile. Neither deadlines nor kills end it.
//
// Threads: any.
class BlockingResolver final : public Resolver {
 public:
  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) override;
  std::string Describe() const override { return "libc"; }
};

}  // namespace grove::net

#endif  // GROVE_NET_LIBC_RESOLVER_H_
