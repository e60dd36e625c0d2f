#include "grove/net/caching_resolver.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/interrupt.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/event.h"

namespace grove::net {

// A question that is under way, in a greenlet of its own: so that the kill, or the
// deadline, of one who waits is nothing to the others.
struct CachingResolver::Flight {
  const uint64_t generation;
  std::optional<absl::StatusOr<Answer>> result = {};
  Event landed = {};
  Greenlet<> pilot = {};
  int passengers = 0;

  // In a forked child, where nobody is left who could answer.
  bool lost() const { return !result && pilot.ready(); }
};

// Brings the answer, or that there will be none: the pilot was killed, with its hub.
class CachingResolver::Landing {
 public:
  explicit Landing(const std::shared_ptr<Flight>& flight) : flight_(flight) {}
  Landing(Landing&&) = default;
  ~Landing() { Bring(absl::CancelledError("the lookup was killed")); }

  void Bring(absl::StatusOr<Answer> answer) {
    const std::shared_ptr<Flight> flight = flight_.lock();
    if (flight == nullptr || flight->result) return;
    flight->result = std::move(answer);
    flight->landed.Set();
  }

 private:
  std::weak_ptr<Flight> flight_;
};

// One who waits. The last one that leaves before the end calls it off.
class CachingResolver::Passenger {
 public:
  Passenger(CachingResolver* resolver, const Question& question,
            std::shared_ptr<Flight> flight)
      : resolver_(resolver), question_(question), flight_(std::move(flight)) {
    ++flight_->passengers;
  }
  ~Passenger() {
    if (--flight_->passengers > 0) return;
    const auto found = resolver_->flights_.find(question_);
    if (found != resolver_->flights_.end() && found->second == flight_) {
      resolver_->flights_.erase(found);
    }
    flight_->pilot.KillSoon();
    flight_->pilot = Greenlet<>();
  }

 private:
  CachingResolver* const resolver_;
  const Question& question_;
  const std::shared_ptr<Flight> flight_;
};

CachingResolver::CachingResolver(std::unique_ptr<Resolver> inner,
                                 CachingResolverOptions options)
    : options_(options), inner_(std::move(inner)) {
  GROVE_CHECK(inner_ != nullptr, "a CachingResolver of no resolver");
}

CachingResolver::~CachingResolver() = default;

std::string CachingResolver::Describe() const {
  return absl::StrCat("cache of ", inner_->Describe());
}

void CachingResolver::Clear() {
  by_question_.clear();
  entries_.clear();
}

CachingResolver::Statistics CachingResolver::statistics() const {
  Statistics s = statistics_;
  s.entries = entries_.size();
  return s;
}

void CachingResolver::ForgetIfChanged() {
  const uint64_t generation = inner_->Generation();
  if (generation == generation_) return;
  generation_ = generation;
  Clear();
}

// What is known, if its time has not been over for longer than `late_by`.
const absl::StatusOr<Answer>* CachingResolver::Find(const Question& question,
                                                    absl::Duration late_by) {
  const auto found = by_question_.find(question);
  if (found == by_question_.end()) return nullptr;
  const int64_t late = absl::ToInt64Nanoseconds(late_by);
  const MonotonicNanos over = ThisHub().Now() - found->second->until;
  if (over >= late && late_by != absl::InfiniteDuration()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &found->second->answer;
}

void CachingResolver::Keep(const Question& question,
                           const absl::StatusOr<Answer>& answer) {
  absl::Duration ttl;
  if (answer.ok()) {
    ttl = std::min(answer->host.ttl, options_.max_ttl);
  } else if (absl::IsNotFound(answer.status())) {
    ttl = std::min(NegativeTtl(answer.status()), options_.max_negative_ttl);
  } else {
    return;
  }
  // Half an answer, say: what there was may still be good enough for bad times.
  if (answer.ok() && ttl <= absl::ZeroDuration()) return;
  const auto old = by_question_.find(question);
  if (old != by_question_.end()) {
    entries_.erase(old->second);
    by_question_.erase(old);
  }
  if (ttl <= absl::ZeroDuration() || options_.max_entries == 0) return;
  if (entries_.size() >= options_.max_entries) {
    by_question_.erase(entries_.back().question);
    entries_.pop_back();
  }
  const MonotonicNanos until = ThisHub().Now() + absl::ToInt64Nanoseconds(ttl);
  entries_.push_front({question, answer, until});
  by_question_[question] = entries_.begin();
}

std::shared_ptr<CachingResolver::Flight> CachingResolver::TakeOff(
    const Question& question) {
  std::shared_ptr<Flight> flight(new Flight{.generation = generation_});
  // It is asked for all: the caller's deadline is nothing to the others.
  WithoutDeadline([&] {
    flight->pilot =
        Spawn({.name = "lookup " + question.name},
              [inner = inner_, question, landing = Landing(flight)]() mutable {
                try {
                  landing.Bring(inner->Resolve(question, {}));
                } catch (const GreenletExit&) {
                  throw;
                } catch (...) {
                  landing.Bring(absl::UnknownError(absl::StrCat(
                      "lookup of ", question.name, ": ",
                      green_internal::DescribeException(std::current_exception()))));
                }
              });
  });
  return flight;
}

// The one to wait for; begun by this, unless others wait for it already.
std::shared_ptr<CachingResolver::Flight> CachingResolver::Board(
    const Question& question) {
  std::shared_ptr<Flight>& flight = flights_[question];
  if (flight != nullptr && !flight->lost() && flight->generation == generation_) {
    ++statistics_.shared;
  } else {
    ++statistics_.misses;
    flight = TakeOff(question);
  }
  return flight;
}

absl::StatusOr<Answer> CachingResolver::Await(const Question& question,
                                              Deadline deadline) {
  const std::shared_ptr<Flight> flight = Board(question);
  const Passenger passenger(this, question, flight);
  if (!flight->landed.Wait(deadline)) {
    return LookupError(LookupFailure::kTimeout,
                       absl::StrCat("look up ", question.ToString(), ": ", Describe(),
                                    " has not answered in time"));
  }
  const auto place = flights_.find(question);
  if (place != flights_.end() && place->second == flight) {  // the first to come here
    flights_.erase(place);
    if (flight->generation == generation_) Keep(question, *flight->result);
  }
  return *flight->result;
}

absl::StatusOr<Answer> CachingResolver::Resolve(const Question& question,
                                                Deadline deadline) {
  own_hub_.Check("a lookup by a CachingResolver");
  ForgetIfChanged();
  if (const auto* known = Find(question, absl::ZeroDuration())) {
    ++statistics_.hits;
    return *known;
  }
  absl::StatusOr<Answer> answer = Await(question, deadline);
  if (absl::IsUnavailable(answer.status()) || absl::IsDeadlineExceeded(answer.status())) {
    const auto* known = Find(question, options_.stale_on_error);
    if (known != nullptr && known->ok()) {
      ++statistics_.stale;
      return *known;
    }
  }
  return answer;
}

}  // namespace grove::net
