#include "grove/green/statistics_gauge.h"

#include <mutex>
#include <utility>

#include "grove/green/internal/process_mutex.h"

namespace grove {

// Never destroyed: static objects may have gauges.
struct Gauges {
  static Gauges& Get() {
    static Gauges* const gauges = new Gauges;
    return *gauges;
  }
  static StatisticsGauge::Reading Read(const StatisticsGauge& g) {
    return {g.name_, g.read_()};
  }

  green_internal::ProcessMutex mutex;
  std::vector<const StatisticsGauge*> all;
};

StatisticsGauge::StatisticsGauge(std::string name, std::function<int64_t()> read)
    : name_(std::move(name)), read_(std::move(read)) {
  Gauges& gauges = Gauges::Get();
  std::lock_guard lock(gauges.mutex);
  gauges.all.push_back(this);
}

StatisticsGauge::~StatisticsGauge() {
  Gauges& gauges = Gauges::Get();
  std::lock_guard lock(gauges.mutex);
  std::erase(gauges.all, this);
}

std::vector<StatisticsGauge::Reading> StatisticsGauge::ReadAll() {
  Gauges& gauges = Gauges::Get();
  std::lock_guard lock(gauges.mutex);
  std::vector<Reading> readings;
  for (const StatisticsGauge* g : gauges.all) readings.push_back(Gauges::Read(*g));
  return readings;
}

}  // namespace grove
