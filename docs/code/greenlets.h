#pragma once

// What the code in greenlets.md takes for given.

#include "grove/green/call.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"

namespace docs_greenlets {

using namespace grove;

void Work();
int Count();
extern std::vector<Greenlet<>> workers;

}  // namespace docs_greenlets
