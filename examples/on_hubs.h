#ifndef GROVE_EXAMPLES_ON_HUBS_H_
#define GROVE_EXAMPLES_ON_HUBS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/net/address.h"
#include "grove/net/tcp.h"

// What servers share that have a listener, and all that follows, on each of many hubs.
namespace grove::examples {

// A listener for each hub, at the same address, as descriptors: each hub adopts its own.
struct HubListeners {
  net::Address address;
  std::vector<int> fds;
};

// Listens at what the flags --host, --port and --hubs say. What cannot be had is one line
// on stderr and exit status 2.
HubListeners ListenOnHubs(const std::string& host, int port, int hubs,
                          net::ListenOptions options = {});

// OnHubs
//
// Runs serve(i) on each of so many hubs. One is this thread's own: a process with a second
// thread pays for it in each system call, where the kernel then counts references to the
// descriptor.
class OnHubs {
 public:
  OnHubs(int hubs, std::string name, std::function<void(int)> serve);
  // Until all have returned.
  void Join();

 private:
  const std::function<void(int)> serve_;
  std::optional<HubGroup> group_;
  Greenlet<> alone_;
};

}  // namespace grove::examples

#endif  // GROVE_EXAMPLES_ON_HUBS_H_
