#pragma once

// What the code in sync.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/sync/async_result.h"
#include "grove/sync/channel.h"
#include "grove/sync/hub_channel.h"
#include "grove/sync/queue.h"

namespace docs_sync {

using namespace grove;

struct Job {};
void Do(const Job& job);
void SayThatNothingHappens();
extern std::vector<Job> all;

}  // namespace docs_sync
