#include "grove/net/server_group.h"

#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "grove/green/call.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"

namespace grove::net {

// What one hub has. The server lies with the greenlet that serves there, so that it ends
// on that hub even if the hub is drained first.
struct ServerGroup::Member {
  // There only; null before and after. Who is in a call of it shares it.
  std::shared_ptr<StreamServer> server;
  StreamServerStatistics statistics;  // there, once it has ended
  Greenlet<absl::Status> serving;
};

ServerGroup::Sockets::~Sockets() {
  for (int fd : fds_) {
    if (fd >= 0) close(fd);
  }
}

ServerGroup::ServerGroup(HubGroup& hubs) : hubs_(hubs) {
  for (int i = 0; i < hubs.size(); ++i) members_.push_back(std::make_unique<Member>());
}

ServerGroup::~ServerGroup() {
  Shield shield;
  Stop();
}

absl::StatusOr<std::vector<int>> ServerGroup::ListenerPerHub(HubGroup& hubs,
                                                             const Address& address,
                                                             ListenOptions options) {
  absl::StatusOr<std::vector<TcpListener>> listeners =
      TcpListener::ListenMany(address, hubs.size(), options);
  if (!listeners.ok()) return std::move(listeners).status();
  std::vector<int> fds;
  for (TcpListener& l : *listeners) fds.push_back(l.Release());
  return fds;
}

absl::StatusOr<std::unique_ptr<ServerGroup>> ServerGroup::Start(HubGroup& hubs,
                                                                Make make) {
  std::unique_ptr<ServerGroup> group(new ServerGroup(hubs));
  // All are made before one accepts: an error leaves nothing behind that was accepted.
  for (int i = 0; i < hubs.size(); ++i) {
    Member* member = group->members_[i].get();
    absl::Status status = Call(hubs.handle(i), [&, i]() -> absl::Status {
      absl::StatusOr<std::unique_ptr<StreamServer>> made = make(i);
      if (!made.ok()) return std::move(made).status();
      member->server = *std::move(made);
      if (i == 0) {
        group->description_ = member->server->description();
        group->address_ = member->server->address_;
      }
      const std::string name = absl::StrCat(member->server->options_.name, " of hub ", i);
      WithoutDeadline([&] {
        member->serving = Spawn({.name = name}, [member, server = member->server] {
          struct AtEnd {
            ~AtEnd() {
              member->statistics = member->server->statistics();
              member->server = nullptr;
            }
            Member* member;
          } at_end{member};
          return server->WaitForEnd();
        });
      });
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  group->OnEach([](StreamServer& server) { server.Start(); });
  return group;
}

void ServerGroup::StartAcceptor(std::unique_ptr<net_internal::Endpoint> endpoint,
                                std::string name, StreamServerOptions options) {
  description_ = name;
  options.name += " dealer";
  options.max_connections = 0;
  options.idle_limit = absl::InfiniteDuration();
  options.min_rate = 0;
  acceptor_.reset(
      new StreamServer(std::move(endpoint), std::move(name), std::move(options)));
  acceptor_->Start();
}

const Address& ServerGroup::address() const {
  GROVE_CHECK(address_.has_value(), "ServerGroup::address() of one at ", description_);
  return *address_;
}

void ServerGroup::OnEach(std::function<void(StreamServer&)> fn) {
  hubs_.CallEach([&](int i) {
    if (const std::shared_ptr<StreamServer> server = members_[i]->server) fn(*server);
  });
}

StopReport ServerGroup::Stop(absl::Duration grace) {
  const auto stop_all = [this, grace] {
    return WithoutDeadline([&] { return StopAll(grace); });
  };
  if (!stop_) stop_ = WithoutDeadline([&] { return Spawn(stop_all); });
  const absl::StatusOr<StopReport> report = stop_.Get();
  if (report.ok()) return *report;
  // It was killed half-way, as all greenlets of a hub are at its end. What is left of it
  // is done here: while a server runs, its group has to be there.
  const Shield shield;
  return stop_all();
}

StopReport ServerGroup::StopAll(absl::Duration grace) {
  const Deadline deadline = grace;
  if (acceptor_) acceptor_->Stop(grace);
  const absl::Duration left = deadline.Remaining();
  const auto reports = hubs_.CallEach([&](int i) {
    const std::shared_ptr<StreamServer> server = members_[i]->server;
    const StopReport report = server ? server->Stop(left) : StopReport();
    if (members_[i]->serving) members_[i]->serving.Join();
    return report;
  });
  StopReport all;
  for (const absl::StatusOr<StopReport>& report : reports) {
    if (!report.ok()) continue;  // a hub that has ended has cut its own
    all.finished += report->finished;
    all.cut += report->cut;
  }
  return all;
}

absl::Status ServerGroup::Wait() {
  absl::Status first;
  for (const auto& member : members_) first.Update(member->serving.Get());
  return first;
}

void ServerGroup::PauseAccepting() {
  if (acceptor_) acceptor_->PauseAccepting();
  OnEach([](StreamServer& server) { server.PauseAccepting(); });
}

void ServerGroup::ResumeAccepting() {
  OnEach([](StreamServer& server) { server.ResumeAccepting(); });
  if (acceptor_) acceptor_->ResumeAccepting();
}

std::vector<StreamServerStatistics> ServerGroup::statistics_by_hub() {
  const auto each = hubs_.CallEach([&](int i) {
    const Member& member = *members_[i];
    return member.server ? member.server->statistics() : member.statistics;
  });
  std::vector<StreamServerStatistics> all;
  for (size_t i = 0; i < each.size(); ++i) {
    all.push_back(each[i].ok() ? *each[i] : members_[i]->statistics);
  }
  return all;
}

StreamServerStatistics ServerGroup::statistics() {
  StreamServerStatistics all;
  for (const StreamServerStatistics& s : statistics_by_hub()) all += s;
  if (acceptor_) all.shortages += acceptor_->statistics().shortages;
  return all;
}

}  // namespace grove::net
