#pragma once

// What the code in greenlets.md takes for given.

#include "grove/green/call.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"

namespace docs_greenlets {

using namespace grove;

void Work();
int Count();
struct Reply {};
struct Peer {};
Reply Ask(const Peer& peer);
struct File {};
void WriteBoth(File& a, File& b);
extern Peer peer;
extern File a, b;
extern std::vector<Greenlet<>> workers;

}  // namespace docs_greenlets
