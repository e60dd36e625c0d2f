#include <cstdio>
#include <vector>
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/hub/clock.h"
using namespace grove;
int main() {
  auto now = [] { return Clock::ReadMonotonic(); };
  {
    const int N = 20'000'000;
    auto a = Spawn([&] { for (int i = 0; i < N; ++i) Yield(); });
    auto b = Spawn([&] { for (int i = 0; i < N; ++i) Yield(); });
    auto t = now(); a.Join(); b.Join();
    printf("yield 2: %.2f ns\n", (now() - t) / (2.0 * N));
  }
  {
    const int N = 2000;
    std::vector<Greenlet<>> v;
    for (int i = 0; i < 10000; ++i) v.push_back(Spawn([&] { for (int i = 0; i < N; ++i) Yield(); }));
    auto t = now(); for (auto& g : v) g.Join();
    printf("yield 10000: %.2f ns\n", (now() - t) / (10000.0 * N));
  }
  for (int r = 0; r < 2; ++r) {
    const int N = 5'000'000;
    auto t = now();
    for (int i = 0; i < N; ++i) Spawn([] {}).Join();
    printf("spawn+join: %.2f ns\n", (now() - t) / (1.0 * N));
  }
  {
    std::vector<Greenlet<>> v;
    for (int i = 0; i < 100000; ++i) v.push_back(Spawn([] { Sleep(absl::Seconds(1000)); }));
    Yield();
    const int N = 5'000'000;
    auto t = now();
    for (int i = 0; i < N; ++i) { Timeout x(absl::Milliseconds(100 + i % 1000)); }
    printf("timeout scope: %.2f ns\n", (now() - t) / (1.0 * N));
    Timer tm([](Timer*) {});
    Hub* hub = Hub::Current();
    auto base = now();
    t = now();
    for (int i = 0; i < N; ++i) { hub->timers().Arm(&tm, base + (i % 1000) * 1000000ll + 100000000); hub->timers().Cancel(&tm); }
    printf("timer arm+cancel: %.2f ns\n", (now() - t) / (1.0 * N));
    for (auto& g : v) g.KillSoon();
  }
}
