#ifndef GROVE_NET_INTERNAL_NAME_SERVERS_H_
#define GROVE_NET_INTERNAL_NAME_SERVERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"
#include "grove/net/internal/ares_channel.h"
#include "grove/net/internal/dns_message.h"

namespace grove::net::net_internal {

// NameServer
//
// One of them, with the channels that lead there: more than one only while thousands
// wait.
class NameServer {
 public:
  NameServer(const Address& address, bool tcp) : address_(address), tcp_(tcp) {}

  const Address& address() const { return address_; }
  AresChannel* Channel();

  // Whether it is better asked after the others.
  bool silent(MonotonicNanos now) const { return now < silent_until_; }
  void IsSilent(MonotonicNanos now);
  void HasAnswered() { silent_until_ = 0; }

 private:
  const Address address_;
  const bool tcp_;
  std::vector<std::unique_ptr<AresChannel>> channels_;
  MonotonicNanos silent_until_ = 0;
};

// What became of a question that was put to them.
struct Exchange {
  std::string name;
  RecordType type;
  // kNone, kNoSuchName and kNoData: somebody has answered.
  DnsReply reply = {};
  bool answered = false;
  std::string server = {};  // who
  // What those say who have not: "192.0.2.53:53 does not answer".
  std::vector<std::string> failures = {};
};

// NameServers
//
// Those that are asked in turn until one answers.
//
// Threads: its hub's. It has to exist until all have done asking.
class NameServers {
 public:
  struct Options {
    std::vector<Address> servers;
    absl::Duration timeout;
    int tries;
    bool rotate;
    bool tcp;
  };
  explicit NameServers(Options options);

  // NameServers::Ask()
  //
  // Puts all questions at once to a server, and those that it does not answer to the
  // next. False if the deadline ended it.
  //
  // Blocks: until each has an answer, or nobody is left to be asked.
  // Deadline: as said. Kill: throws.
  bool Ask(absl::Span<Exchange> exchanges, Deadline deadline);

  const Options& options() const { return options_; }
  uint64_t queries() const { return queries_; }
  // "192.0.2.53:53, 192.0.2.54:53"
  std::string Describe() const;

 private:
  std::vector<NameServer*> Order();
  bool AskOne(NameServer* server, absl::Span<Exchange> exchanges, Deadline deadline);

  const Options options_;
  std::vector<NameServer> servers_;
  size_t next_ = 0;
  uint64_t queries_ = 0;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_NAME_SERVERS_H_
