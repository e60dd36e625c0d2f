#ifndef GROVE_GREEN_DUMP_H_
#define GROVE_GREEN_DUMP_H_

#include <csignal>
#include <cstddef>
#include <string>

#include "absl/time/time.h"

// What does everybody do? A dump shows all greenlets of all hubs: what each waits for and
// for how long, where it was spawned and by whom, and its stack.
//
//   int main() {
//     DumpOnSignal(SIGQUIT);  // kill -QUIT, or Ctrl-\, and read stderr
//     ...
//
//   hub 'hub-0', 3 greenlets beside the main one
//   2 greenlets:
//     greenlet 'greenlet-1' (#1), spawned at server.cc:12: waits for fd 7 readable, for 3s
//     greenlet 'greenlet-2' (#2), spawned at server.cc:12: waits for fd 8 readable, for 1s
//     @ grove::Descriptor::WaitReadable() (server+0x5f30)
//     @ Session::Run() (server+0x1e42)
//     ...
//   spawn tree:
//     ...
//   cycle:
//     greenlet 'a' (#3) waits for Mutex 0x7f..., held by greenlet 'b' (#4)
//     greenlet 'b' (#4) waits for Mutex 0x7f..., held by greenlet 'a' (#3)
//
// Greenlets with the same stack are listed together, those that have waited longest
// first; the largest group comes first. A hub that does not answer, as a greenlet holds
// it up, is listed with the stack of that greenlet.
//
// "For 3s" counts from the beginning of the hub's slice in which the wait began: it is
// too long by a slice at most (HubOptions::slice), unless the hub was held up just then.
// On a ManualClock it is that clock's time. What is ready, or has not started, has no
// such time.
//
// Cycles are those of locks, and of calls to other hubs, by greenlets of whichever hub.
// Within one hub, those that no deadline ends are not seen here, as the last lock of such
// a one is a fatal error. Hubs make their parts one by one, so that a cycle of several
// may be one that just ended: what is still there in the next dump is a deadlock.
namespace grove {

// DumpOptions
struct DumpOptions {
  // How long hubs may take to answer, all together; an hour at most. A hub makes its part
  // of a dump by itself, as soon as it comes to its mail.
  absl::Duration limit = absl::Seconds(1);
  // How many greenlets of each group are listed; all are counted.
  size_t listed = 10;
  // Spawn trees are left out for hubs with more greenlets than that.
  size_t largest_tree = 200;
  // For the stack of what holds up a hub, and how long all of them may take together: see
  // MonitorOptions.
  int signal = SIGURG;
  absl::Duration stack_limit = absl::Seconds(1);
};

// DumpAll()
//
// A dump of all hubs with greenlets, as text. Of 100,000 greenlets with few different
// stacks it has some dozens of lines, and holds up their hub for less than a tenth of a
// second (half a microsecond each, in an optimised build). Of each stack the innermost 64
// frames are shown.
//
// Blocks: in a greenlet, until all hubs have answered, or the limit; then, if some have
// not, until their stacks are there, or for stack_limit. In a callback on the
// hub's stack, or on a thread without a hub, that thread is blocked as long.
// Kill: not interrupted.
// Threads: any.
std::string DumpAll(const DumpOptions& options = {});

// DumpHub()
//
// A dump of this thread's hub alone; empty if there is none. Does not block.
std::string DumpHub(const DumpOptions& options = {});

// DumpAllTo()
//
// Writes DumpAll() to a descriptor, which may block the thread; errors are ignored.
void DumpAllTo(int fd, const DumpOptions& options = {});

// DumpOnSignal()
//
// Whenever the process gets `signum`, writes a dump of all hubs to `fd`. A thread that is
// started for it does so, which works also when every hub is held up. It does not count
// as one that could wake a hub (LoopExit). Once per process: a second call is a fatal
// error, and so is a system that has no more threads.
void DumpOnSignal(int signum, int fd = 2, const DumpOptions& options = {});

}  // namespace grove

#endif  // GROVE_GREEN_DUMP_H_
