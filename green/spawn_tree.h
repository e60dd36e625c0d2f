#ifndef GROVE_GREEN_SPAWN_TREE_H_
#define GROVE_GREEN_SPAWN_TREE_H_

#include <string>

namespace grove {

// SpawnTreeOptions
struct SpawnTreeOptions {
  // Lists the GreenletLocals that each greenlet has a value of.
  bool locals = false;
};

// FormatSpawnTree()
//
// All greenlets of this thread's hub that have not ended, as a tree by who spawned them,
// each with its name, where it was spawned, and what it does or waits for. For people:
//
//   hub 'server', 3 greenlets beside the main one
//   greenlet 'main': waits for the end of greenlet 'acceptor' (#1)
//     greenlet 'acceptor' (#1), spawned at server.cc:31: waits for fd 5 readable
//       greenlet 'greenlet-7' (#7), spawned at server.cc:12: is ready
//   spawned by #3, which has ended:
//     greenlet 'reaper' (#4), spawned at cache.cc:80: waits for the end of a sleep, in 9s
//
// Does not block, and may be called in a callback on the hub's stack. Empty on a thread
// without a hub.
std::string FormatSpawnTree(SpawnTreeOptions options = {});

}  // namespace grove

#endif  // GROVE_GREEN_SPAWN_TREE_H_
