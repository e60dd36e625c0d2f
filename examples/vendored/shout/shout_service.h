#ifndef GROVE_VENDORED_SHOUT_SHOUT_SERVICE_H_
#define GROVE_VENDORED_SHOUT_SHOUT_SERVICE_H_

#include "grove/green/descriptor.h"
#include "grove/green/greenlet.h"

namespace shout {

// ShoutService
//
// Answers each line that comes in on a connection with the same line in capitals, in a
// greenlet of its own, until the other side closes.
//
// Threads: those of one hub.
class ShoutService {
 public:
  // Takes `fd` over: the connection, non-blocking.
  explicit ShoutService(int fd);
  ShoutService(const ShoutService&) = delete;
  ShoutService& operator=(const ShoutService&) = delete;
  // Ends the conversation, wherever it stands.
  //
  // Blocks: until it has ended; not interruptible.
  ~ShoutService();

  // ShoutService::Join()
  //
  // How many lines were answered, once the other side has closed.
  //
  // Blocks: until then. Kill: throws.
  int Join();

  // ShoutService::lines()
  //
  // How many lines were answered so far.
  int lines() const { return lines_; }

 private:
  void Serve();

  grove::Descriptor connection_;
  int lines_ = 0;
  grove::Greenlet<> greenlet_;
};

}  // namespace shout

#endif  // GROVE_VENDORED_SHOUT_SHOUT_SERVICE_H_
