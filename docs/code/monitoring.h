#pragma once

// What the code in monitoring.md takes for given.

#include "grove/green/assert_switches.h"
#include "grove/green/dump.h"
#include "grove/green/greenlet.h"
#include "grove/green/monitor.h"
#include "grove/green/sleep.h"

namespace docs_monitoring {

using namespace grove;

struct Table {};
Table LoadTable();
void CountStall(absl::string_view hub, absl::string_view label);
void Export(absl::string_view hub, uint64_t switches, uint64_t live);
inline void Compress(absl::string_view) { Yield(); }
extern Table table;
inline std::string file;

}  // namespace docs_monitoring
