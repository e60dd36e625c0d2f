#ifndef GROVE_GREEN_STATISTICS_H_
#define GROVE_GREEN_STATISTICS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "grove/green/statistics_gauge.h"
#include "grove/hub/duration_histogram.h"
#include "grove/hub/hub.h"

// What hubs count about themselves. It is always on: a hub writes plain variables, which
// any thread may look at while it runs.
//
//   for (const HubStatistics& s : AllHubStatistics()) Export(s.hub, s.switches, s.live);
namespace grove {

// HubStatistics
//
// One hub at one moment. The numbers are read one after the other while the hub goes on,
// so that two of them may differ by what happened in between.
struct HubStatistics {
  std::string hub;
  bool asleep = false;  // it looks for events, and nothing runs

  uint64_t turns = 0;
  // How often a greenlet was switched to, or a callback run that stood in line with them.
  // As of the end of the last slice.
  uint64_t switches = 0;
  uint64_t polls = 0;  // how often the loop was asked for events
  uint64_t posts = 0;  // letters from other threads, delivered

  uint64_t spawned = 0;  // greenlets since the hub began, the main one not counted
  uint64_t live = 0;     // of those, have not ended
  size_t timers = 0;     // armed: sleeps, deadlines
  int watchers = 0;      // started: descriptors, per direction, the mailbox's included
  // Stacks of greenlets that live, or have ended while a handle is kept, and the loop's
  // own; and those that are kept for greenlets to come.
  size_t stacks_in_use = 0;
  size_t stacks_cached = 0;

  // How long each turn let greenlets run before it looked at anything else: with the
  // default HubOptions::slice about a millisecond at most, unless somebody holds up the
  // hub.
  DurationDistribution turn_times;
  // How long it took, from when the hub had looked for events, until all that was ready
  // had run: the longest that anything which became ready then had to wait for its turn.
  DurationDistribution ready_delays;

  // Several lines, for people.
  std::string ToString() const;
};

// AllHubStatistics()
//
// Of all hubs with greenlets, the oldest first.
//
// Threads: any. Takes a lock per hub, which that hub wants only to end.
std::vector<HubStatistics> AllHubStatistics();

// StatisticsOf()
//
// Of one hub; nothing if it has ended or never had a greenlet.
//
// Threads: any.
std::optional<HubStatistics> StatisticsOf(const HubHandle& hub);

// FormatStatistics()
//
// All hubs and gauges, as text for people.
//
// Threads: any.
std::string FormatStatistics();

}  // namespace grove

#endif  // GROVE_GREEN_STATISTICS_H_
