#include <vector>

#include "grove/green/dag_pool.h"
#include "grove/green/pile.h"
#include "grove/green/wait.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void AsTheyEnd(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) crowd.Add([&] { s.Pause(); });
  Crowd watchers(s);
  for (int i = 0; i < 3; ++i) {
    watchers.Add([&] {
      const size_t all = crowd.all().size();
      const Deadline deadline = s.SoonOrNever();
      size_t told = 0;
      for (const AnyGreenlet& g : IWait(crowd.all(), {.deadline = deadline})) {
        s.Check(g.ready(), "who is told of has ended");
        ++told;
        s.Pause();
        if (s.lots.OneIn(20)) return;  // that leaves nothing behind
      }
      s.Check(told == all || (told < all && !deadline.infinite()),
              "each is told of once");
    });
  }
  crowd.Stir();
  watchers.Stir();
  crowd.Join();
  watchers.Join();
}

void AsTheyBegan(Scene& s) {
  Crowd crowd(s);
  for (int i = 0; i < 2; ++i) {
    crowd.Add([&, calls = s.Workers()] {
      GreenPile<int> pile(3);
      int expected = 0;
      for (int c = 0; c < calls; ++c) {
        ++s.world().summary.greenlets;
        pile.Spawn([&s, c] {
          s.Pause();
          return c;
        });
        if (s.lots.OneIn(3)) s.Check(pile.Next() == expected++, "the earliest is next");
      }
      for (const int result : pile) s.Check(result == expected++, "they are in order");
      s.Check(expected == calls, "each call has a result");
    });
  }
  crowd.Stir();
  crowd.Join();
}

// Sums of sums, of which one may be killed on its way.
void OneFromAnother(Scene& s) {
  const int keys = s.Workers();
  std::vector<int64_t> sums = {1};
  bool killed = false;
  DagPool<int, int64_t> pool;
  for (int key = 1; key <= keys; ++key) {
    const int near = key - 1;
    const int far = static_cast<int>(s.lots.Below(key));
    std::vector<int> depends = {near};
    if (far != near) depends.push_back(far);
    int64_t sum = 1;
    for (const int d : depends) sum += sums[d];
    sums.push_back(sum);
    ++s.world().summary.greenlets;
    const absl::Status spawned = pool.Spawn(key, depends, [&s](int, auto& inputs) {
      int64_t total = 1;
      for (auto& [input, value] : inputs) total += value;
      s.Pause();
      return total;
    });
    s.Check(spawned.ok(), "a key can be computed once");
  }
  Crowd crowd(s);
  for (int i = 0; i < 3; ++i) {
    crowd.Add([&, key = 1 + static_cast<int>(s.lots.Below(keys))] {
      const Deadline deadline = s.SoonOrNever();
      try {
        const absl::StatusOr<int64_t> sum = pool.Get(key, deadline);
        s.Check(sum.ok() ? *sum == sums[key] : !deadline.infinite(),
                "a value is what it is made of");
      } catch (const PropagateError&) {
        s.Check(killed, "what nobody has killed does not fail");
      }
    });
  }
  crowd.Stir();
  if (s.kills() && s.lots.OneIn(2)) {
    killed = true;
    const int key = 1 + static_cast<int>(s.lots.Below(keys));
    (void)pool.Kill(key);
  }
  s.Check(pool.Post(0, sums[0]).ok(), "a key can be given its value once");
  crowd.Join();
}

}  // namespace

std::vector<Scenario> ResultScenarios() {
  return {{"iwait", &AsTheyEnd}, {"pile", &AsTheyBegan}, {"dag_pool", &OneFromAnother}};
}

}  // namespace grove::soak
