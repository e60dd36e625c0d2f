#include <mutex>
#include <shared_mutex>

#include "absl/base/thread_annotations.h"
#include "grove/sync/barrier.h"
#include "grove/sync/condition_variable.h"
#include "grove/sync/gate.h"
#include "grove/sync/mutex.h"
#include "grove/sync/once.h"
#include "grove/sync/rate_limiter.h"
#include "grove/sync/resource_pool.h"
#include "grove/sync/rlock.h"
#include "grove/sync/rw_lock.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

template <typename Lock>
void Exclusion(Scene& s) {
  Lock lock;
  std::atomic<int> inside = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    // (The analysis does not see what adopts a lock.)
    crowd.Add([&, rounds = s.Rounds()]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      for (int r = 0; r < rounds; ++r) {
        std::unique_lock<Lock> hold(lock, std::defer_lock);
        if (s.lots.OneIn(2)) {
          hold.lock();
        } else if (!lock.try_lock_until(s.SoonOrNever())) {
          continue;
        } else {
          hold = std::unique_lock<Lock>(lock, std::adopt_lock);
        }
        const Inside in(s, inside, 1, "two hold it");
        s.Pause();
        if constexpr (std::is_same_v<Lock, RLock>) {
          const std::lock_guard again(lock);
          s.Pause();
        }
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(!lock.locked(), "nobody holds it in the end");
}

void ReadersAndWriters(Scene& s) {
  RWLock lock;
  std::atomic<int> readers = 0;
  std::atomic<int> writers = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      for (int r = 0; r < rounds; ++r) {
        if (s.lots.OneIn(3)) {
          const std::lock_guard hold(lock);
          const Inside in(s, writers, 1, "two write");
          s.Check(readers == 0, "nobody reads while one writes");
          s.Pause();
          s.Check(readers == 0, "nobody comes to read while one writes");
        } else if (lock.try_lock_shared_until(s.SoonOrNever())) {
          const std::shared_lock hold(lock, std::adopt_lock);
          const Inside in(s, readers, 1000, "");
          s.Check(writers == 0, "nobody writes while one reads");
          s.Pause();
          s.Check(writers == 0, "nobody comes to write while one reads");
        }
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  const bool is_free = lock.try_lock();
  s.Check(is_free, "nobody holds it in the end");
  if (is_free) lock.unlock();
}

void Permits(Scene& s) {
  constexpr int kPermits = 3;
  BoundedSemaphore semaphore(kPermits);
  std::atomic<int> inside = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const int n = 1 + static_cast<int>(s.lots.Below(kPermits));
        if (!semaphore.acquire(n, s.SoonOrNever())) continue;
        struct Release {
          ~Release() { semaphore.release(n); }
          Semaphore& semaphore;
          int n;
        } release{semaphore, n};
        const Inside in(s, inside, kPermits, "more than there are permits", n);
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(semaphore.available() == kPermits, "all permits are back");
}

void BoundedBuffer(Scene& s) {
  Mutex mutex;
  ConditionVariable not_full;
  ConditionVariable not_empty;
  int64_t produced = 0;
  int64_t consumed = 0;
  int64_t count = 0;
  bool over = false;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds(), produce = i % 2 == 0] {
      for (int r = 0; r < rounds; ++r) {
        std::unique_lock hold(mutex);
        if (produce) {
          not_full.wait(hold, [&] { return count < 2 || over; });
          if (over) return;
          ++count;
          ++produced;
          not_empty.notify_one();
        } else {
          if (!not_empty.wait_until(hold, s.SoonOrNever(),
                                    [&] { return count > 0 || over; })) {
            continue;
          }
          if (over) return;
          --count;
          ++consumed;
          not_full.notify_one();
        }
        hold.unlock();
        s.Pause();
      }
    });
  }
  crowd.Stir();
  {
    const std::lock_guard hold(mutex);
    over = true;
    not_full.notify_all();
    not_empty.notify_all();
  }
  crowd.Join();
  s.Check(produced == consumed + count, "produced is consumed or left");
  s.Check(!mutex.locked(), "nobody holds the mutex in the end");
}

void Rendezvous(Scene& s) {
  const int parties = 2 + static_cast<int>(s.lots.Below(3));
  int64_t trips = 0;
  int64_t passed = 0;
  Barrier barrier(parties, [&] { ++trips; });
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        if (barrier.Wait(s.SoonOrNever()).ok()) ++passed;
        s.Pause();
      }
    });
  }
  crowd.Stir();
  barrier.Abort();
  crowd.Join();
  s.Check(barrier.waiting() == 0, "nobody waits in the end");
  s.Check(passed == trips * parties, "each trip lets all of its parties pass");
}

void OnlyOnce(Scene& s) {
  Once once;
  int completed = 0;
  std::atomic<int> inside = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      once.Call([&] {
        const Inside in(s, inside, 1, "two call it at once");
        s.Pause();
        Sleep(absl::Microseconds(s.lots.Below(500)));
        ++completed;
      });
      s.Check(completed == 1, "it is done when Call() returns");
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(completed == (once.done() ? 1 : 0), "it was completed once");
}

void Passing(Scene& s) {
  Gate gate;
  std::atomic<int> inside = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const GatePass pass(gate);
        if (!pass) return;
        const Inside in(s, inside, 1000, "");
        s.Pause();
      }
    });
  }
  crowd.Stir();
  s.Check(gate.Close(absl::Minutes(5)), "all leave");
  s.Check(inside == 0 && gate.inside() == 0, "nobody is inside a closed gate");
  crowd.Join();
}

void Rate(Scene& s) {
  const MonotonicNanos start = ThisHub().Now();
  constexpr double kPerSecond = 20'000;
  constexpr double kBurst = 5;
  RateLimiter limiter({.tokens = kPerSecond, .per = absl::Seconds(1), .burst = kBurst});
  double taken = 0;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const double n = 1 + static_cast<double>(s.lots.Below(3));
        if (limiter.Acquire(n, s.SoonOrNever())) taken += n;
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  const double seconds = static_cast<double>(ThisHub().Now() - start) / 1e9;
  s.Check(taken <= kBurst + kPerSecond * seconds + 1, "no faster than the rate");
}

void Lending(Scene& s) {
  std::atomic<int64_t> tokens = 0;
  {
    constexpr size_t kMost = 2;
    ResourcePool<Token> pool({.create = [&]() -> absl::StatusOr<Token> {
                                s.Pause();
                                if (s.lots.OneIn(8)) return absl::UnavailableError("");
                                return Token(&tokens);
                              },
                              .max_size = kMost});
    std::atomic<int> inside = 0;
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, rounds = s.Rounds()] {
        for (int r = 0; r < rounds; ++r) {
          auto lease = pool.Get(s.SoonOrNever());
          if (!lease.ok()) continue;
          const Inside in(s, inside, kMost, "more are lent than there are");
          s.Pause();
          if (s.lots.OneIn(8)) lease->Discard();
        }
      });
    }
    crowd.Stir();
    crowd.Join();
    const auto usage = pool.usage();
    s.Check(usage.idle == usage.count && usage.waiting == 0, "all that was lent is back");
    s.Check(tokens == static_cast<int64_t>(usage.idle), "there are those that rest");
  }
  s.Check(tokens == 0, "none outlives the pool");
}

}  // namespace

std::vector<Scenario> LockScenarios() {
  return {{"mutex", &Exclusion<Mutex>},
          {"rlock", &Exclusion<RLock>},
          {"rw_lock", &ReadersAndWriters},
          {"semaphore", &Permits},
          {"condition_variable", &BoundedBuffer},
          {"barrier", &Rendezvous},
          {"once", &OnlyOnce},
          {"gate", &Passing},
          {"rate_limiter", &Rate},
          {"resource_pool", &Lending}};
}

}  // namespace grove::soak
