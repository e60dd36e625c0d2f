#ifndef GROVE_TOOLS_SOAK_SCENE_H_
#define GROVE_TOOLS_SOAK_SCENE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/hub/hub.h"
#include "grove/sync/semaphore.h"
#include "grove/sync/wait_group.h"
#include "tools/soak/soak.h"

namespace grove::soak {

// Lots
//
// Draws them (SplitMix64; Steele, Lea, Flood 2014): eight bytes of state, for there are
// thousands.
class Lots {
 public:
  explicit Lots(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // From 0 to n - 1.
  uint64_t Below(uint64_t n) { return Next() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

// World
//
// What all scenes share.
struct World {
  explicit World(const Options& o) : options(o), lots(o.seed) {}

  const Options& options;
  Lots lots;
  Summary summary;
  HubHandle other;            // a second hub
  Semaphore connections{32};  // each costs two descriptors
};

// Scene
//
// One scenario that is being played: its lots, and what it finds.
//
// Threads: the first hub's, but for Check().
class Scene {
 public:
  Scene(World* world, const char* name, uint64_t seed)
      : lots(seed), world_(world), name_(name), seed_(seed), kills_(!lots.OneIn(3)) {}

  // What must be so.
  void Check(bool holds, const char* promise);

  // Lets time pass, and others run; sometimes.
  void Pause();
  // A deadline that is often too short.
  Deadline SoonOrNever();
  // How many workers, and how often each does its work.
  int Workers() { return 4 + static_cast<int>(lots.Below(8)); }
  int Rounds() { return 1 + static_cast<int>(lots.Below(8)); }
  // Whether there are kills in this one.
  bool kills() const { return kills_; }

  World& world() { return *world_; }

  Lots lots;

 private:
  World* const world_;
  const char* const name_;
  const uint64_t seed_;
  const bool kills_;
};

// Connections
//
// Takes so many of the world's share, and waits for them.
class Connections {
 public:
  Connections(Scene& scene, int n) : all_(scene.world().connections), n_(n) {
    (void)all_.acquire(n_, Deadline());  // there is none to pass
  }
  Connections(const Connections&) = delete;
  ~Connections() { all_.release(n_); }

 private:
  Semaphore& all_;
  const int n_;
};

// Inside
//
// Counts who is in a place that holds only so many. Also across hubs.
class Inside {
 public:
  Inside(Scene& scene, std::atomic<int>& count, int most, const char* promise, int n = 1)
      : count_(count), n_(n) {
    scene.Check(count_.fetch_add(n) + n <= most, promise);
  }
  Inside(const Inside&) = delete;
  ~Inside() { count_.fetch_sub(n_); }

 private:
  std::atomic<int>& count_;
  const int n_;
};

// Crowd
//
// The greenlets of a scene. Declared after what they use: its end kills those that are
// left and waits for them.
class Crowd {
 public:
  explicit Crowd(Scene& scene) : scene_(scene) {}
  Crowd(const Crowd&) = delete;
  ~Crowd();

  template <typename F>
  void Add(F fn) {
    ++scene_.world().summary.greenlets;
    all_.push_back(Spawn(std::move(fn)));
  }

  // Crowd::Stir()
  //
  // Lets them work for a while, and kills some.
  void Stir();

  // Crowd::Join()
  //
  // Waits for all. That they end is a promise.
  void Join();

  std::vector<AnyGreenlet>& all() { return all_; }

 private:
  Scene& scene_;
  std::vector<AnyGreenlet> all_;
};

// RemoteCrowd
//
// The same on the other hub. Functions run there; they may refer to what is declared
// before it.
class RemoteCrowd {
 public:
  explicit RemoteCrowd(Scene& scene) : scene_(scene) {}
  RemoteCrowd(const RemoteCrowd&) = delete;
  ~RemoteCrowd();

  void Add(std::function<void()> fn);
  // Kills one, soon.
  void KillOne();
  void Join();

 private:
  Scene& scene_;
  WaitGroup running_;
  // There:
  std::vector<AnyGreenlet> all_;
};

// Token
//
// What is put and taken: counts how many there are of its kind.
class Token {
 public:
  Token() = default;
  explicit Token(std::atomic<int64_t>* count) : count_(count) { ++*count_; }
  Token(Token&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
  Token& operator=(Token&& other) noexcept {
    std::swap(count_, other.count_);
    return *this;
  }
  ~Token() {
    if (count_) --*count_;
  }
  friend bool operator<(const Token&, const Token&) { return false; }

 private:
  std::atomic<int64_t>* count_ = nullptr;
};

struct Scenario {
  const char* name;
  void (*play)(Scene&);
};

std::vector<Scenario> LockScenarios();
std::vector<Scenario> EventScenarios();
std::vector<Scenario> QueueScenarios();
std::vector<Scenario> GreenletScenarios();
std::vector<Scenario> ResultScenarios();
std::vector<Scenario> InheritedScenarios();
std::vector<Scenario> HubScenarios();
std::vector<Scenario> NetScenarios();
std::vector<Scenario> NameScenarios();
std::vector<Scenario> TlsScenarios();
std::vector<Scenario> ThreadScenarios();
std::vector<Scenario> FileScenarios();
std::vector<Scenario> OsScenarios();

}  // namespace grove::soak

#endif  // GROVE_TOOLS_SOAK_SCENE_H_
