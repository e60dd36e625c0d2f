// A program that has grove linked in, patches itself, and allocates in greenlets, in
// threads that are greenlets, and in native threads, all of which take each other's
// memory. Says what that came to.

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/blocking.h"
#include "grove/green/greenlet.h"
#include "grove/patch/patch.h"

namespace {

// Of strings that one allocates and another frees.
class Queue {
 public:
  void Put(std::string s) {
    const std::lock_guard guard(mutex_);
    strings_.push_back(std::move(s));
    more_.notify_one();
  }
  std::string Take() {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [this] { return !strings_.empty(); });
    std::string s = std::move(strings_.front());
    strings_.pop_front();
    return s;
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::string> strings_;
};

constexpr int kEach = 500;

}  // namespace

int main() {
  grove::patch::PatchAll();
  Queue queue;
  const auto put = [&](int who) {
    for (int i = 0; i < kEach; ++i) {
      queue.Put(std::string(static_cast<size_t>(1 + (who * 31 + i * 17) % 5000), 'x'));
    }
  };
  std::vector<std::thread> threads;
  std::vector<grove::Greenlet<>> greenlets;
  for (int i = 0; i < 20; ++i) threads.emplace_back([&, i] { put(i); });
  for (int i = 20; i < 40; ++i) greenlets.push_back(grove::Spawn([&, i] { put(i); }));
  for (int i = 40; i < 44; ++i) {
    greenlets.push_back(grove::Spawn([&, i] {
      // On threads of the pool, at the same time.
      grove::Blocking([&] { put(i); }).IgnoreError();
    }));
  }
  size_t bytes = 0;
  for (int i = 0; i < 44 * kEach; ++i) bytes += queue.Take().size();
  for (std::thread& t : threads) t.join();
  for (const auto& g : greenlets) g.Join();
  printf("%d strings, %zu bytes\n", 44 * kEach, bytes);
  return 0;
}
