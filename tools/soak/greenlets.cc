#include <memory>
#include <vector>

#include "grove/green/local.h"
#include "grove/green/pool.h"
#include "grove/green/task_group.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"
#include "grove/hub/clock.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void Sleeping(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      const MonotonicNanos start = ThisHub().Now();
      const absl::Duration length = absl::Microseconds(s.lots.Below(5000));
      Sleep(length);
      s.Check(ThisHub().Now() - start >= absl::ToInt64Nanoseconds(length),
              "no sleep is shorter than it should be");
    });
  }
  crowd.Stir();
  crowd.Join();
}

void Timeouts(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      const auto draw = [&] { return absl::Microseconds(s.lots.Below(3000)); };
      const absl::Duration outer = draw();
      const MonotonicNanos start = ThisHub().Now();
      bool inner_ended = false;
      const absl::Status status = WithTimeout(outer, [&] {
        (void)WithTimeout(draw(), [&] { Sleep(draw()); });
        inner_ended = true;
        Sleep(draw());
      });
      if (status.ok()) {
        s.Check(inner_ended, "a scope whose time is not up goes on");
      } else {
        s.Check(ThisHub().Now() - start >= absl::ToInt64Nanoseconds(outer),
                "no timeout comes early");
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

void Links(Scene& s) {
  // Links run when their hub comes to it, which may be after this scene.
  const auto linked = std::make_shared<int>(0);
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] { s.Pause(); });
    crowd.all().back().RawLink([linked](const AnyGreenlet&) { ++*linked; });
  }
  const int expected = static_cast<int>(crowd.all().size());
  crowd.all().push_back(SpawnLater(absl::Microseconds(s.lots.Below(3000)), [] {}));
  crowd.Stir();
  crowd.Join();
  const Deadline deadline = absl::Minutes(5);
  while (*linked < expected && !deadline.HasPassed()) Yield();
  s.Check(*linked == expected, "each link runs once, however the greenlet ends");
}

void Waiting(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) crowd.Add([&] { s.Pause(); });
  Crowd waiters(s);
  for (int i = 0; i < 3; ++i) {
    waiters.Add([&] {
      const std::vector<AnyGreenlet> all = crowd.all();
      (void)JoinAll(all, {.deadline = s.SoonOrNever()});
      (void)Wait({Waitable(all.front()), Waitable(all.back())},
                 {.deadline = s.SoonOrNever(), .count = 1});
    });
  }
  crowd.Stir();
  waiters.Stir();
  crowd.Join();
  waiters.Join();
}

void Tasks(Scene& s) {
  int alive = 0;
  struct Alive {
    explicit Alive(int* n) : count(n) { ++*count; }
    Alive(const Alive&) = delete;
    ~Alive() { --*count; }
    int* const count;
  };
  Crowd crowd(s);
  for (int i = 0; i < 2; ++i) {
    crowd.Add([&] {
      TaskGroup group;
      for (int n = s.Workers(); n > 0; --n) {
        ++s.world().summary.greenlets;
        group.Spawn([&, fails = s.lots.OneIn(6)] {
          const Alive here(&alive);
          s.Pause();
          return fails ? absl::UnavailableError("a task that fails") : absl::OkStatus();
        });
      }
      (void)group.Join(s.SoonOrNever());
    });
  }
  crowd.Stir();
  crowd.Join();
  s.Check(alive == 0, "no task outlives its group");
}

// A pool that takes its members with it when it goes.
struct OwnPool : Pool {
  using Pool::Pool;
  ~OwnPool() override {
    const Shield shield;
    Kill();
  }
};

void Pools(Scene& s) {
  constexpr int kSize = 2;
  std::atomic<int> inside = 0;
  OwnPool pool(kSize);
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      const auto work = [&] {
        const Inside in(s, inside, kSize, "no more run than the pool is large");
        s.Pause();
        return 1;
      };
      ++s.world().summary.greenlets;
      switch (s.lots.Below(3)) {
        case 0:
          (void)pool.Spawn(work);
          break;
        case 1:
          (void)pool.TrySpawn(work, s.SoonOrNever());
          break;
        default:
          (void)pool.Apply(work);
      }
    });
  }
  crowd.Stir();
  crowd.Join();
  pool.Kill();
  s.Check(pool.running() == 0 && pool.free_count() == kSize, "all places are free");
}

void Mapping(Scene& s) {
  OwnPool pool(3);
  std::vector<int> items(s.Workers());
  for (size_t i = 0; i < items.size(); ++i) items[i] = static_cast<int>(i);
  Crowd crowd(s);
  crowd.Add([&] {
    int expected = 0;
    auto results = pool.IMap(
        [&](int i) {
          s.Pause();
          return i;
        },
        items, {.max_buffered = 1 + s.lots.Below(3)});
    for (int i : results) s.Check(i == expected++, "results come in their order");
  });
  crowd.Stir();
  crowd.Join();
  pool.Kill();
  s.Check(pool.running() == 0, "nothing is left in the pool");
}

void Locals(Scene& s) {
  std::atomic<int64_t> tokens = 0;
  {
    GreenletLocal<Token> local([&] { return Token(&tokens); });
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&] {
        (void)*local;
        s.Pause();
      });
    }
    crowd.Stir();
    crowd.Join();
  }
  s.Check(tokens == 0, "no value outlives its greenlet");
}

}  // namespace

std::vector<Scenario> GreenletScenarios() {
  return {{"sleep", &Sleeping}, {"timeout", &Timeouts}, {"link", &Links},
          {"wait", &Waiting},   {"task_group", &Tasks}, {"pool", &Pools},
          {"imap", &Mapping},   {"local", &Locals}};
}

}  // namespace grove::soak
