#ifndef GROVE_TOOLS_BENCH_CORE_SPEED_H_
#define GROVE_TOOLS_BENCH_CORE_SPEED_H_

#include <string>
#include <vector>

#include "tools/bench/table.h"

namespace grove::bench {

// CoreSpeed
//
// What the calling thread's core does just now. Virtual machines give no access to the
// processor's counters, so that both are measured, by arithmetic.
struct CoreSpeed {
  // Cycles in a nanosecond: by instructions that each need the last one's result. On x86-64
  // these are multiplications, of three cycles on all servers' processors since 2008: a
  // busy neighbour on the core delays them less than additions, which are one cycle's and
  // what is used elsewhere.
  double ghz;
  // How much of the core's width this thread gets, from 0 to 1: by additions that could
  // run three at a time. The rest goes to the other thread of the core, if there is one,
  // which may be another machine's.
  double share;
};
CoreSpeed MeasureCoreSpeed();

// Timings
//
// One figure taken several times, with the core's speed at each: nanoseconds of two runs
// are comparable only where that is the same.
class Timings {
 public:
  // `measure` returns nanoseconds.
  template <typename Measure>
  void Take(Measure measure) {
    const CoreSpeed before = MeasureCoreSpeed();
    const double ns = measure();
    Add(ns, before, MeasureCoreSpeed());
  }

  double median() const { return Median(ns_); }

  // "4.82..4.95; 14.1 cycles of 2.91 GHz, with 58..97 % of the core"
  std::string note() const;

 private:
  void Add(double ns, const CoreSpeed& before, const CoreSpeed& after);

  std::vector<double> ns_, cycles_, ghz_, percent_;
};

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_CORE_SPEED_H_
