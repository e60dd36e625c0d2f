#ifndef GROVE_NET_CACHING_RESOLVER_H_
#define GROVE_NET_CACHING_RESOLVER_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/internal/own_hub.h"
#include "grove/hub/clock.h"
#include "grove/net/resolver.h"

namespace grove::net {

// CachingResolverOptions
struct CachingResolverOptions {
  // How many answers are kept; beyond, the one that was asked for longest ago goes.
  size_t max_entries = 10'000;
  // However long whoever gave it says that it is good.
  absl::Duration max_ttl = absl::Hours(1);
  // The same for kNotFound: that there is no such name, or no such data.
  absl::Duration max_negative_ttl = absl::Minutes(1);
  // For how long after its time an answer is given all the same if nobody can be asked:
  // the error is kUnavailable or kDeadlineExceeded. Not at all, by default.
  absl::Duration stale_on_error = absl::ZeroDuration();
};

// CachingResolver
//
// Remembers what another resolver has answered, for as long as the answer says: also that
// there is nothing. Other errors are not remembered. Greenlets that ask the same while
// nobody knows it yet share one question; it goes on while one of them waits, whatever
// becomes of the one that began it.
//
//   CachingResolver resolver(std::make_unique<AresResolver>());
//
// Time is the hub's clock's. What the inner one says by Generation() empties the cache.
//
// Threads: the hub of its first use.
class CachingResolver final : public Resolver {
 public:
  explicit CachingResolver(std::unique_ptr<Resolver> inner,
                           CachingResolverOptions options = {});
  // Nobody may be asking it.
  ~CachingResolver() override;

  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) override;
  uint64_t Generation() override { return inner_->Generation(); }
  std::string Describe() const override;

  // CachingResolver::Clear()
  //
  // Forgets all answers.
  void Clear();

  struct Statistics {
    uint64_t hits = 0;    // answered from memory
    uint64_t misses = 0;  // the inner one was asked
    uint64_t shared = 0;  // waited for an answer that somebody else had asked for
    uint64_t stale = 0;   // answered from memory after its time, for want of a better one
    size_t entries = 0;
  };
  Statistics statistics() const;

 private:
  struct Entry {
    Question question;
    absl::StatusOr<Answer> answer;
    MonotonicNanos until;
  };
  struct Flight;
  class Landing;
  class Passenger;

  const absl::StatusOr<Answer>* Find(const Question& question, absl::Duration late_by);
  void Keep(const Question& question, const absl::StatusOr<Answer>& answer);
  void ForgetIfChanged();
  absl::StatusOr<Answer> Await(const Question& question, Deadline deadline);
  std::shared_ptr<Flight> Board(const Question& question);
  std::shared_ptr<Flight> TakeOff(const Question& question);

  green_internal::OwnHub own_hub_;
  const CachingResolverOptions options_;
  // What is under way may outlive this by a moment.
  const std::shared_ptr<Resolver> inner_;
  std::list<Entry> entries_;  // what was asked for last is in front
  std::map<Question, std::list<Entry>::iterator> by_question_;
  std::map<Question, std::shared_ptr<Flight>> flights_;
  uint64_t generation_ = 0;
  Statistics statistics_;
};

}  // namespace grove::net

#endif  // GROVE_NET_CACHING_RESOLVER_H_
