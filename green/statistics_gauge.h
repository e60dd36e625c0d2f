#ifndef GROVE_GREEN_STATISTICS_GAUGE_H_
#define GROVE_GREEN_STATISTICS_GAUGE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace grove {

// StatisticsGauge
//
// A number of your own among the statistics, for as long as it lives: connections, or
// what waits in a queue. Each ThreadPool has two: what is unfinished, and what of that
// waits in line.
//
//   StatisticsGauge queued("dns pool, queued", [this] { return queue_.size(); });
//
// Threads: any. `read` is called by whoever reads the gauges, under a lock: it must not
// block, and must not make or destroy a gauge. It is not called any more when the
// destructor has returned.
class StatisticsGauge {
 public:
  StatisticsGauge(std::string name, std::function<int64_t()> read);
  StatisticsGauge(const StatisticsGauge&) = delete;
  StatisticsGauge& operator=(const StatisticsGauge&) = delete;
  ~StatisticsGauge();

  struct Reading {
    std::string name;
    int64_t value = 0;
  };

  // StatisticsGauge::ReadAll()
  //
  // All there are, in the order in which they were made.
  static std::vector<Reading> ReadAll();

 private:
  friend struct Gauges;
  const std::string name_;
  const std::function<int64_t()> read_;
};

}  // namespace grove

#endif  // GROVE_GREEN_STATISTICS_GAUGE_H_
