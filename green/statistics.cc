#include "grove/green/statistics.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/scheduler.h"

namespace grove {

using green_internal::HubRecord;
using green_internal::Scheduler;

namespace {

std::optional<HubStatistics> StatisticsOf(HubRecord& record) {
  const HubRecord::Look look(record);
  if (!look) return std::nullopt;
  const Scheduler::Outside outside = look.See();
  const Hub& hub = outside.hub;
  HubStatistics s;
  s.hub = record.name();
  s.asleep = hub.asleep() || record.rests();
  s.turns = hub.meter().turns;
  s.switches = hub.meter().runs;
  s.polls = hub.meter().polls;
  s.posts = hub.letters_delivered();
  s.spawned = outside.spawned;
  s.live = outside.live;
  s.timers = hub.timers_armed();
  s.watchers = hub.active_watchers();
  s.stacks_in_use = outside.stacks.in_use();
  s.stacks_cached = outside.stacks.idle_count();
  s.turn_times = hub.meter().slices.Copy();
  s.ready_delays = hub.meter().rounds.Copy();
  return s;
}

}  // namespace

std::string HubStatistics::ToString() const {
  return absl::StrCat("hub '", hub, asleep ? "', asleep" : "', awake", "\n  ", turns,
                      " turns, ", switches, " switches, ", polls, " polls, ", posts,
                      " posts\n  ", live, " greenlets of ", spawned, " spawned, ", timers,
                      " timers, ", watchers, " watchers, ", stacks_in_use,
                      " stacks in use, ", stacks_cached,
                      " cached\n  turn times: ", turn_times.ToString(),
                      "\n  ready delays: ", ready_delays.ToString(), "\n");
}

std::vector<HubStatistics> AllHubStatistics() {
  std::vector<HubStatistics> all;
  for (const auto& record : HubRecord::All()) {
    if (auto s = StatisticsOf(*record)) all.push_back(*std::move(s));
  }
  return all;
}

std::optional<HubStatistics> StatisticsOf(const HubHandle& hub) {
  for (const auto& record : HubRecord::All()) {
    if (record->handle() == hub) return StatisticsOf(*record);
  }
  return std::nullopt;
}

std::string FormatStatistics() {
  std::string out;
  for (const HubStatistics& s : AllHubStatistics()) out += s.ToString();
  for (const auto& r : StatisticsGauge::ReadAll()) {
    absl::StrAppend(&out, r.name, ": ", r.value, "\n");
  }
  return out;
}

}  // namespace grove
