#include <atomic>
#include <memory>
#include <vector>

#include "grove/green/offload.h"
#include "grove/green/thread_pool.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void OnOtherThreads(Scene& s) {
  ThreadPool& pool = ThreadPool::Default();
  // The pool's threads count in it, also for those who did not wait for the end.
  const auto begun = std::make_shared<std::atomic<int>>(0);
  int returned = 0;
  std::vector<PoolTask<int>> tasks;
  {
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, i, rounds = s.Rounds()] {
        for (int r = 0; r < rounds; ++r) {
          if (s.lots.OneIn(3)) {
            tasks.push_back(pool.Spawn([begun, i] {
              ++*begun;
              return i;
            }));
          } else {
            const absl::StatusOr<int> got = pool.Apply(
                [begun, i, r] {
                  ++*begun;
                  return i * 100 + r;
                },
                s.SoonOrNever());
            if (got.ok()) ++returned;
            s.Check(!got.ok() || *got == i * 100 + r, "the caller gets its own result");
          }
          s.Pause();
        }
      });
    }
    crowd.Stir();
    crowd.Join();
  }
  int ran = 0;
  for (const PoolTask<int>& task : tasks) {
    if (s.lots.OneIn(3)) task.Cancel();
    task.Join();
    ran += task.successful();
  }
  s.Check(returned + ran <= *begun, "what returned has run");
}

void MappedOnThreads(Scene& s) {
  Crowd crowd(s);
  for (int i = 0; i < 2; ++i) {
    crowd.Add([&, items = std::vector<int>(s.Workers())]() mutable {
      for (size_t n = 0; n < items.size(); ++n) items[n] = static_cast<int>(n);
      int expected = 0;
      auto squares = ThreadPool::Default().IMap([](int n) { return n * n; }, items,
                                                {.max_buffered = 1 + s.lots.Below(3)});
      for (const int square : squares) {
        s.Check(square == expected * expected, "results come in their order");
        ++expected;
        s.Pause();
      }
      s.Check(expected == static_cast<int>(items.size()), "each item has a result");
    });
  }
  crowd.Stir();
  crowd.Join();
}

// Which no two threads may use at a time.
class Counter {
 public:
  int Next() { return ++count_; }

 private:
  int count_ = 0;
};

void AnObjectOnThreads(Scene& s) {
  absl::StatusOr<Offload<Counter>> counter = MakeOffload<Counter>(ThreadPool::Default());
  s.Check(counter.ok(), "an object is made on a thread");
  if (!counter.ok()) return;
  int answered = 0;
  {
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, rounds = s.Rounds()] {
        int last = 0;
        for (int r = 0; r < rounds; ++r) {
          const absl::StatusOr<int> count =
              counter->With([](Counter& c) { return c.Next(); }, s.SoonOrNever());
          if (count.ok()) {
            s.Check(*count > last, "calls are made one after the other");
            last = *count;
            ++answered;
          }
          s.Pause();
        }
      });
    }
    crowd.Stir();
    crowd.Join();
  }
  const absl::StatusOr<int> count = counter->Call(&Counter::Next);
  s.Check(count.ok() && *count > answered, "each call that returned was made");
}

}  // namespace

std::vector<Scenario> ThreadScenarios() {
  return {{"thread_pool", &OnOtherThreads},
          {"thread_map", &MappedOnThreads},
          {"offload", &AnObjectOnThreads}};
}

}  // namespace grove::soak
