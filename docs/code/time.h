#pragma once

// What the code in time.md takes for given.

#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/task_group.h"
#include "grove/green/timeout.h"
#include "grove/net/tcp.h"

namespace docs_time {

using namespace grove;

void Work();
void Sample();
void Fetch();
void UseTheCache();
struct File {};
void WriteBoth(File& a, File& b);
extern File a, b;
extern net::TcpStream stream;
extern std::string question;
extern char head[8];

}  // namespace docs_time
