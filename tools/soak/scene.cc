#include "tools/soak/scene.h"

#include <memory>
#include <mutex>

namespace grove::soak {
namespace {

// So long that only what hangs takes it, also on a slow machine with a sanitizer.
constexpr absl::Duration kHangs = absl::Minutes(5);

// How many broken promises are kept word for word.
constexpr size_t kShown = 20;

}  // namespace

void Scene::Check(bool holds, const char* promise) {
  if (holds) return;
  static std::mutex lock;
  const std::lock_guard guard(lock);
  ++world_->summary.broken_promises;
  if (world_->summary.broken.size() >= kShown) return;
  world_->summary.broken.push_back(
      absl::StrCat(name_, " with seed ", seed_, ": ", promise));
}

void Scene::Pause() {
  switch (lots.Below(6)) {
    case 0:
      Sleep(absl::Microseconds(lots.Below(2000)));
      return;
    case 1:
    case 2:
      Yield();
      return;
    default:
      return;
  }
}

Deadline Scene::SoonOrNever() {
  if (lots.OneIn(2)) return {};
  return absl::Microseconds(lots.Below(3000));
}

// --- Crowd --------------------------------------------------------------------------

Crowd::~Crowd() {
  const Shield shield;
  for (const AnyGreenlet& g : all_) g.KillSoon();
  for (const AnyGreenlet& g : all_) g.Join();
}

void Crowd::Stir() {
  Lots& lots = scene_.lots;
  for (uint64_t i = lots.Below(10); i > 0; --i) {
    scene_.Pause();
    if (!scene_.kills() || all_.empty()) continue;
    const AnyGreenlet& victim = all_[lots.Below(all_.size())];
    if (victim.ready()) continue;
    ++scene_.world().summary.kills;
    if (lots.OneIn(3)) {
      victim.Kill();
    } else {
      victim.KillSoon();
    }
  }
}

void Crowd::Join() {
  const Deadline deadline = kHangs;
  for (const AnyGreenlet& g : all_) {
    if (g.Join(deadline)) continue;
    scene_.Check(
        false, absl::StrCat("hangs: ", g.core()->scheduler->Describe(g.core())).c_str());
    return;
  }
}

// --- RemoteCrowd --------------------------------------------------------------------

void RemoteCrowd::Add(std::function<void()> fn) {
  ++scene_.world().summary.greenlets;
  running_.Add();
  // Also if it is killed before it begins.
  struct Done {
    void operator()(WaitGroup* g) const { g->Done(); }
  };
  std::unique_ptr<WaitGroup, Done> done(&running_);
  scene_.world()
      .other
      .Post([this, fn = std::move(fn), done = std::move(done)]() mutable {
        all_.push_back(Spawn([fn = std::move(fn), done = std::move(done)] { fn(); }));
      })
      .IgnoreError();
}

void RemoteCrowd::KillOne() {
  ++scene_.world().summary.kills;
  const uint64_t which = scene_.lots.Next();
  running_.Add();
  scene_.world()
      .other
      .Post([this, which] {
        if (!all_.empty()) all_[which % all_.size()].KillSoon();
        running_.Done();
      })
      .IgnoreError();
}

void RemoteCrowd::Join() {
  scene_.Check(running_.Wait(kHangs), "greenlets of the other hub hang");
}

RemoteCrowd::~RemoteCrowd() {
  const Shield shield;
  running_.Add();
  scene_.world()
      .other
      .Post([this] {
        for (const AnyGreenlet& g : all_) g.KillSoon();
        running_.Done();
      })
      .IgnoreError();
  running_.Wait();
  // The handles go where they belong, while this is still there.
  running_.Add();
  scene_.world()
      .other
      .Post([this] {
        all_.clear();
        running_.Done();
      })
      .IgnoreError();
  running_.Wait();
}

}  // namespace grove::soak
