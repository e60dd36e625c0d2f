#include "tools/bench/boost_fiber_peer.h"

#include "grove/hub/clock.h"
#include "tools/bench/table.h"

#if __has_include(<boost/fiber/all.hpp>)
#include <boost/fiber/all.hpp>
#include <mutex>

namespace grove::bench {
namespace {

namespace fibers = boost::fibers;

double Since(MonotonicNanos start, int n) {
  return static_cast<double>(Clock::ReadMonotonic() - start) / n;
}

}  // namespace

double BoostFiberMutexNs(int n) {
  fibers::mutex mutex;
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; ++i) {
    mutex.lock();
    asm volatile("" ::: "memory");
    mutex.unlock();
  }
  return Since(start, n);
}

double BoostFiberChannelNs(int n) {
  fibers::unbuffered_channel<int> channel;
  fibers::fiber sender([&] {
    for (int i = 0; i < n; ++i) channel.push(i);
  });
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; ++i) channel.value_pop();
  const double ns = Since(start, n);
  sender.join();
  return ns;
}

double BoostFiberBufferedNs(int n) {
  fibers::buffered_channel<int> channel(64);
  constexpr int kBatch = 16;
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; i += kBatch) {
    for (int k = 0; k < kBatch; ++k) channel.push(k);
    for (int k = 0; k < kBatch; ++k) channel.value_pop();
  }
  return Since(start, n);
}

double BoostFiberHandoffNs(int n) {
  fibers::mutex mutex;
  fibers::condition_variable changed;
  int turn = 0;
  const auto play = [&](int me) {
    std::unique_lock<fibers::mutex> lock(mutex);
    for (int i = 0; i < n / 2; ++i) {
      changed.wait(lock, [&] { return turn == me; });
      turn = 1 - me;
      changed.notify_one();
    }
  };
  const MonotonicNanos start = Clock::ReadMonotonic();
  fibers::fiber other([&] { play(1); });
  play(0);
  other.join();
  return Since(start, n);
}

}  // namespace grove::bench

#else

namespace grove::bench {

double BoostFiberMutexNs(int) { return kNoValue; }
double BoostFiberChannelNs(int) { return kNoValue; }
double BoostFiberBufferedNs(int) { return kNoValue; }
double BoostFiberHandoffNs(int) { return kNoValue; }

}  // namespace grove::bench

#endif
