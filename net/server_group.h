#ifndef GROVE_NET_SERVER_GROUP_H_
#define GROVE_NET_SERVER_GROUP_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/net/internal/dealt_listener.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"

namespace grove::net {

// ServerGroup
//
// One server on all hubs of a HubGroup, in one of two ways. Either each hub accepts at a
// listener of its own, and the kernel spreads connections over them (SO_REUSEPORT):
//
//   HubGroup hubs({.name = "web"});
//   auto servers = ServerGroup::Listen(hubs, address, [](TcpStream& s) { Echo(s); });
//   if (!servers.ok()) return servers.status();
//   ...
//   StopReport report = (*servers)->Stop(absl::Seconds(5));
//   hubs.Drain();
//
// or one acceptor on this hub deals what it accepts out to the hub with the fewest
// greenlets: where connections are few, long and unequal, and for Unix sockets, which
// know no SO_REUSEPORT:
//
//   auto servers = ServerGroup::Deal(hubs, std::move(listener), &Echo);
//
// The first costs less: nothing travels. When one hub of it is stopped alone, the kernel
// resets what waits in its backlog; Stop() stops all.
//
// Handlers are copied, one for each hub, and run on several at the same time. Limits and
// options are each hub's own.
//
// Threads: the hub that made it. `hubs` has no function of its own, and outlives it.
class ServerGroup {
 public:
  // What is called on each hub, to make its server.
  using Make = std::function<absl::StatusOr<std::unique_ptr<StreamServer>>(int hub)>;
  template <typename S>
  using MakeDealt = std::function<std::unique_ptr<StreamServer>(DealtListener<S>)>;

  // ServerGroup::Start()
  //
  // A server on each hub, of any kind, as `make` makes it; all accept when this returns.
  //
  // Blocks: until they do. Kill: throws, and there is none.
  // Errors: the first of `make`'s; then there is none.
  static absl::StatusOr<std::unique_ptr<ServerGroup>> Start(HubGroup& hubs, Make make);

  // ServerGroup::Listen()
  //
  // A TCP server with a listener for each hub. Contract as Start(); an address that is in
  // use is an error.
  template <typename Handler>
  static absl::StatusOr<std::unique_ptr<ServerGroup>> Listen(
      HubGroup& hubs, const Address& address, Handler handler,
      StreamServerOptions options = {}, ListenOptions listen = {}) {
    absl::StatusOr<std::vector<int>> fds = ListenerPerHub(hubs, address, listen);
    if (!fds.ok()) return std::move(fds).status();
    const Sockets sockets{*std::move(fds)};
    return Start(hubs, [&](int hub) -> absl::StatusOr<std::unique_ptr<StreamServer>> {
      absl::StatusOr<TcpListener> listener = TcpListener::Adopt(sockets.Take(hub));
      if (!listener.ok()) return std::move(listener).status();
      return std::make_unique<StreamServer>(*std::move(listener), handler, options);
    });
  }

  // ServerGroup::Deal()
  //
  // A server on each hub, and an acceptor on this one. Of `options` the limits are each
  // hub's. Contract as Start().
  template <net::Listener L, net::HandlerFor<L> Handler>
  static absl::StatusOr<std::unique_ptr<ServerGroup>> Deal(
      HubGroup& hubs, L listener, Handler handler, StreamServerOptions options = {}) {
    using S = StreamOf<L>;
    const StreamServerOptions acceptor = options;
    return DealTo<L>(
        hubs, std::move(listener),
        [handler, options](DealtListener<S> dealt) {
          return std::make_unique<StreamServer>(std::move(dealt), handler, options);
        },
        acceptor);
  }

  // ServerGroup::DealTo()
  //
  // The same with servers that `make` makes, on each hub: to put TLS around what is
  // dealt.
  template <net::Listener L>
  static absl::StatusOr<std::unique_ptr<ServerGroup>> DealTo(
      HubGroup& hubs, L listener, MakeDealt<StreamOf<L>> make,
      const StreamServerOptions& acceptor = {}) {
    using S = StreamOf<L>;
    const auto dealer = std::make_shared<net_internal::Dealer>(hubs);
    const std::string name = listener.address().ToString();
    auto group = Start(hubs, [&](int hub) {
      return absl::StatusOr<std::unique_ptr<StreamServer>>(
          make(DealtListener<S>(dealer->queue(hub), name)));
    });
    if (group.ok()) {
      (*group)->StartAcceptor(
          std::make_unique<net_internal::DealingEndpoint<L>>(std::move(listener), dealer),
          name, acceptor);
    }
    return group;
  }

  ServerGroup(const ServerGroup&) = delete;
  ServerGroup& operator=(const ServerGroup&) = delete;
  // Stops without grace.
  ~ServerGroup();

  // ServerGroup::Stop()
  //
  // StreamServer::Stop() on all hubs at the same time, the acceptor first; what all of
  // them had to do together. Once; whoever else stops it waits for the same.
  //
  // Blocks: until no handler runs.
  // Kill: throws; the stop goes on.
  StopReport Stop(absl::Duration grace = absl::ZeroDuration());

  // ServerGroup::Wait()
  //
  // Waits for the end of a Stop() by somebody else, or of its hubs. The first error by
  // hub, if a listener failed for good.
  //
  // Blocks: until then. Kill: throws, and the servers go on.
  absl::Status Wait();

  // ServerGroup::PauseAccepting(), ServerGroup::ResumeAccepting()
  //
  // On all hubs. Block: for their next turn. Kill: throws.
  void PauseAccepting();
  void ResumeAccepting();

  // ServerGroup::statistics()
  //
  // Of all hubs together, and of each. Blocks: for their next turn. Kill: throws.
  StreamServerStatistics statistics();
  std::vector<StreamServerStatistics> statistics_by_hub();

  // Where it listens, with the port that the kernel chose.
  const std::string& description() const { return description_; }
  const Address& address() const;

 private:
  struct Member;
  // Descriptors that nobody has taken are closed.
  class Sockets {
   public:
    explicit Sockets(std::vector<int> fds) : fds_(std::move(fds)) {}
    ~Sockets();
    int Take(int i) const { return std::exchange(fds_[i], -1); }

   private:
    mutable std::vector<int> fds_;
  };

  explicit ServerGroup(HubGroup& hubs);
  static absl::StatusOr<std::vector<int>> ListenerPerHub(HubGroup& hubs,
                                                         const Address& address,
                                                         ListenOptions options);
  void StartAcceptor(std::unique_ptr<net_internal::Endpoint> endpoint, std::string name,
                     StreamServerOptions options);
  StopReport StopAll(absl::Duration grace);
  void OnEach(std::function<void(StreamServer&)> fn);

  HubGroup& hubs_;
  std::string description_;
  std::optional<Address> address_;
  std::vector<std::unique_ptr<Member>> members_;
  std::unique_ptr<StreamServer> acceptor_;
  Greenlet<StopReport> stop_;
};

}  // namespace grove::net

#endif  // GROVE_NET_SERVER_GROUP_H_
