#include "grove/net/internal/name_servers.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/green/hub_scope.h"
#include "grove/hub/internal/check.h"

namespace grove::net::net_internal {
namespace {

constexpr size_t kMaxExchanges = 2;
constexpr absl::Duration kPenalty = absl::Seconds(30);

// What has become of the query; true if that is an answer.
bool Note(const AresQuery& query, NameServer* server, Exchange* exchange) {
  const std::string who = server->address().ToString();
  if (query.message().empty()) {
    if (query.refused()) server->IsSilent(ThisHub().Now());
    exchange->reply.failure = LookupFailure::kUnreachable;
    exchange->failures.push_back(absl::StrCat(who, " ", query.error()));
    return false;
  }
  server->HasAnswered();
  exchange->reply = ParseReply(query.message(), exchange->type);
  switch (exchange->reply.failure) {
    case LookupFailure::kNone:
    case LookupFailure::kNoSuchName:
    case LookupFailure::kNoData:
      exchange->server = who;
      return exchange->answered = true;
    case LookupFailure::kServerFailed:
      exchange->failures.push_back(absl::StrCat(who, " says ", exchange->reply.code));
      return false;
    default:
      exchange->failures.push_back(absl::StrCat(who, " has sent what is no answer"));
      return false;
  }
}

bool AllAnswered(absl::Span<Exchange> exchanges) {
  return std::all_of(exchanges.begin(), exchanges.end(),
                     [](const Exchange& e) { return e.answered; });
}

}  // namespace

AresChannel* NameServer::Channel() {
  while (channels_.size() > 1 && !channels_.back()->busy()) channels_.pop_back();
  for (const auto& channel : channels_) {
    if (!channel->full()) return channel.get();
  }
  channels_.push_back(std::make_unique<AresChannel>(address_, tcp_));
  return channels_.back().get();
}

void NameServer::IsSilent(MonotonicNanos now) {
  silent_until_ = now + absl::ToInt64Nanoseconds(kPenalty);
}

NameServers::NameServers(Options options) : options_(std::move(options)) {
  for (const Address& address : options_.servers) {
    servers_.emplace_back(address, options_.tcp);
  }
}

std::string NameServers::Describe() const {
  return absl::StrJoin(options_.servers, ", ", [](std::string* out, const Address& a) {
    absl::StrAppend(out, a.ToString());
  });
}

// Those that have answered lately in front.
std::vector<NameServer*> NameServers::Order() {
  std::vector<NameServer*> order;
  const size_t first = options_.rotate ? next_++ : 0;
  for (size_t i = 0; i < servers_.size(); ++i) {
    order.push_back(&servers_[(first + i) % servers_.size()]);
  }
  const MonotonicNanos now = ThisHub().Now();
  std::stable_partition(order.begin(), order.end(),
                        [now](const NameServer* s) { return !s->silent(now); });
  return order;
}

bool NameServers::AskOne(NameServer* server, absl::Span<Exchange> exchanges,
                         Deadline deadline) {
  GROVE_CHECK(exchanges.size() <= kMaxExchanges, "too many questions at once");
  const Deadline until = std::min(deadline, Deadline(options_.timeout));
  std::array<std::optional<AresQuery>, kMaxExchanges> queries;
  for (size_t i = 0; i < exchanges.size(); ++i) {
    if (exchanges[i].answered) continue;
    ++queries_;
    queries[i].emplace(server->Channel(), exchanges[i].name, exchanges[i].type);
  }
  for (size_t i = 0; i < exchanges.size(); ++i) {
    if (!queries[i]) continue;
    if (queries[i]->Wait(until)) {
      Note(*queries[i], server, &exchanges[i]);
    } else {
      // Who was in more of a hurry has learned nothing of the server.
      if (until < deadline) server->IsSilent(ThisHub().Now());
      exchanges[i].reply.failure = LookupFailure::kTimeout;
      exchanges[i].failures.push_back(
          absl::StrCat(server->address().ToString(), " does not answer"));
    }
  }
  return !deadline.HasPassed() || AllAnswered(exchanges);
}

bool NameServers::Ask(absl::Span<Exchange> exchanges, Deadline deadline) {
  const std::vector<NameServer*> order = Order();
  for (int round = 0; round < options_.tries; ++round) {
    for (NameServer* server : order) {
      if (!AskOne(server, exchanges, deadline)) return false;
      if (AllAnswered(exchanges)) return true;
    }
  }
  return true;
}

}  // namespace grove::net::net_internal
