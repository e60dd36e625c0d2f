#ifndef GROVE_EXAMPLES_CHAT_REDIS_H_
#define GROVE_EXAMPLES_CHAT_REDIS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "grove/green/greenlet.h"
#include "grove/net/stream.h"
#include "grove/sync/event.h"
#include "grove/sync/mutex.h"

namespace grove::examples {

// ChatRedis
//
// What is said in any of several instances of a program gets to all of them, by the
// channels "chat:<room>" of a Redis server: PUBLISH on one connection, PSUBSCRIBE on
// another, in Redis' own protocol (RESP2). While the server cannot be reached it is tried
// again each second, and what is said is lost.
//
// Threads: the hub that made it.
class ChatRedis {
 public:
  using Deliver = std::function<void(absl::string_view room, absl::string_view line)>;

  // `address` is "host:port". `deliver` must not block.
  ChatRedis(std::string address, Deliver deliver);
  ChatRedis(const ChatRedis&) = delete;
  ChatRedis& operator=(const ChatRedis&) = delete;
  ~ChatRedis();

  // Blocks: until the server has taken it, a few seconds at most. False: it was lost.
  bool Publish(absl::string_view room, absl::string_view line);

  // Blocks: until the subscription stands. Deadline: returns false.
  bool WaitUntilSubscribed(Deadline deadline) { return subscribed_.Wait(deadline); }

 private:
  void SubscribeForEver();
  absl::Status Subscribe();

  const std::string address_;
  const Deliver deliver_;
  Mutex publisher_;
  std::unique_ptr<net::Stream> publishing_;
  Event subscribed_;
  Greenlet<> subscriber_;
};

}  // namespace grove::examples

#endif  // GROVE_EXAMPLES_CHAT_REDIS_H_
