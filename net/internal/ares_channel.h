#ifndef GROVE_NET_INTERNAL_ARES_CHANNEL_H_
#define GROVE_NET_INTERNAL_ARES_CHANNEL_H_

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/hub/hub.h"
#include "grove/net/address.h"
#include "grove/net/internal/dns_message.h"
#include "grove/sync/event.h"

struct ares_channeldata;

namespace grove::net::net_internal {

class AresQuery;

// AresChannel
//
// c-ares, as it talks to one name server: what is sent, how answers are matched with what
// was asked, and the change to TCP for those that do not fit into a datagram. Which
// server is asked, how often, and how long each may take, is its user's business, so that
// it is decided by the hub's clock.
//
// c-ares works on the hub's stack when one of its sockets is ready, and in AresQuery's
// constructor. What it calls back notes the result and sets an Event; nothing in there
// comes back to c-ares. It needs no timer: a query that nobody waits for any more is
// forgotten when the last one that somebody waits for has ended, by ares_cancel(); then
// its sockets are closed too. While nothing is asked there is neither socket nor watcher.
//
// At the end of the hub, and in a forked child, all is dropped, and begins anew at the
// next query. The child only closes its copies of the sockets.
//
// Threads: its hub's.
class AresChannel final : private green_internal::Scheduler::Visitor {
 public:
  // `tcp`: and not UDP first.
  AresChannel(const Address& server, bool tcp);
  AresChannel(const AresChannel&) = delete;
  AresChannel& operator=(const AresChannel&) = delete;
  // Nobody may be waiting.
  ~AresChannel();

  // Whether no query more should be begun here: c-ares tells them apart by 16 bits, and
  // looks for a free number until it has one.
  bool full() const { return queries_ >= kMaxQueries; }
  // Somebody waits.
  bool busy() const { return !waiters_.empty(); }

 private:
  friend class AresQuery;
  struct Query;
  struct Socket;

  static constexpr size_t kMaxQueries = 1000;

  // Null if c-ares has no memory.
  ares_channeldata* Channel();
  void HubEnds() override;
  void Drop();
  void FailAll(const std::string& error);
  void Leave(AresQuery* waiter);
  static void OnSocket(void* self, int fd, int readable, int writable);
  static void OnAnswer(void* query, int status, int timeouts, unsigned char* message,
                       int size);

  const Address server_;
  const bool tcp_;
  green_internal::Scheduler* scheduler_ = nullptr;  // while there is a channel
  ares_channeldata* channel_ = nullptr;
  std::map<int, std::unique_ptr<Socket>> sockets_;
  size_t queries_ = 0;
  std::set<AresQuery*> waiters_;
};

// AresQuery
//
// One question to one server. It lies on the stack of who waits, and may go at any time.
class AresQuery {
 public:
  // Sends it. `name` is taken as it is.
  AresQuery(AresChannel* channel, const std::string& name, RecordType type);
  AresQuery(const AresQuery&) = delete;
  AresQuery& operator=(const AresQuery&) = delete;
  ~AresQuery();

  // AresQuery::Wait()
  //
  // Blocks: until there is an answer, or there will be none.
  // Deadline: returns false.
  // Kill: throws.
  bool Wait(Deadline deadline) { return done_.Wait(deadline); }

  // Then: what the server has sent, of whatever kind, or why it has sent nothing.
  const std::string& message() const { return message_; }
  const std::string& error() const { return error_; }
  // Whether that tells of the server: nobody listens there.
  bool refused() const { return refused_; }

 private:
  friend class AresChannel;

  void End(std::string error);

  AresChannel* const channel_;
  AresChannel::Query* query_ = nullptr;  // until it has ended
  const KeepAlive keep_alive_;           // the answer comes by a socket
  Event done_;
  std::string message_;
  std::string error_;
  bool refused_ = false;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_ARES_CHANNEL_H_
