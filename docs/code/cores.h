#pragma once

// What the code in cores.md takes for given.

#include "grove/green/greenlet.h"

namespace docs_cores {

using namespace grove;

void Serve(int index);
int Work();
int Part(int index);
int CountOf(int index);
struct Accounts {
  int Count(absl::string_view name);
};
extern Accounts accounts;
extern HubHandle accounts_hub;
extern std::string name;

}  // namespace docs_cores
