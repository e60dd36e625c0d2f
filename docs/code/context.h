#pragma once

// What the code in context.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/task_group.h"
#include "grove/hub/hub.h"

namespace docs_context {

using namespace grove;

uint64_t NewSeed();
struct Random {
  explicit Random(uint64_t seed);
  int Next();
};
struct Request {
  std::string trace_id() const;
};
void FetchUser();
void Work();
extern HubHandle other_hub;

}  // namespace docs_context
