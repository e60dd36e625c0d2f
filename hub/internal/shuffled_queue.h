#ifndef GROVE_HUB_INTERNAL_SHUFFLED_QUEUE_H_
#define GROVE_HUB_INTERNAL_SHUFFLED_QUEUE_H_

#include <cstdint>
#include <vector>

#include "grove/hub/run_queue.h"

namespace grove::hub_internal {

// SplitMix64
//
// Steele, Lea and Flood's generator ("Fast Splittable Pseudorandom Number Generators",
// 2014): one word of state, and any seed is a good one.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // From 0 to n - 1.
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

// ShuffledQueue
//
// What is ready to run, of which any may be next: the seed decides. What it hands out
// depends on nothing but the seed and the order of the calls.
//
// Threads: its hub's.
class ShuffledQueue {
 public:
  explicit ShuffledQueue(uint64_t seed) : random_(seed) {}

  bool empty() const { return ready_.empty(); }

  // ShuffledQueue::TakeFrom()
  //
  // Takes over all that is in `queue`.
  void TakeFrom(RunQueue* queue) {
    while (!queue->empty()) ready_.push_back(queue->PopFront());
  }

  // ShuffledQueue::Pop()
  //
  // Any. The caller has seen that there is one.
  Runnable* Pop() {
    Runnable*& any = ready_[random_.Below(ready_.size())];
    Runnable* r = any;
    any = ready_.back();
    ready_.pop_back();
    return r;
  }

  // ShuffledQueue::OneIn()
  //
  // True once in `n` calls or so.
  bool OneIn(uint64_t n) { return random_.Below(n) == 0; }

 private:
  SplitMix64 random_;
  std::vector<Runnable*> ready_;
};

}  // namespace grove::hub_internal

#endif  // GROVE_HUB_INTERNAL_SHUFFLED_QUEUE_H_
