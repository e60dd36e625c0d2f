#ifndef GROVE_SYNC_SIGNAL_CHANNEL_H_
#define GROVE_SYNC_SIGNAL_CHANNEL_H_

#include <initializer_list>

#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/signals.h"
#include "grove/hub/deadline.h"
#include "grove/sync/channel.h"

namespace grove {

// SignalChannel
//
// Signals as a channel, so that a Select() can wait for them and for other things.
//
//   SignalChannel signals({SIGINT, SIGTERM});
//   ReceiveCase stop(signals.channel());
//   ReceiveCase job(jobs);
//   while (Select({stop, job}) == 1) Do(job.value());
//
// What has not been received stands for all of its kind that come meanwhile, but for one
// signal that is already at the channel's door. A greenlet carries them there: while the
// SignalChannel exists, its hub goes on.
//
// Threads: made and destroyed on one hub. The channel is for any.
class SignalChannel {
 public:
  explicit SignalChannel(std::initializer_list<int> signals);
  SignalChannel(const SignalChannel&) = delete;
  SignalChannel& operator=(const SignalChannel&) = delete;
  // Blocks: until the greenlet has ended, which it does at once.
  ~SignalChannel();

  // SignalChannel::Receive()
  //
  // Blocks: until a signal comes; at once if one came before.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; no signal is lost.
  absl::StatusOr<SignalInfo> Receive(Deadline deadline = {}) {
    return channel_.Receive(deadline);
  }

  // For Select(). Not to be sent to.
  Channel<SignalInfo>& channel() { return channel_; }

 private:
  SignalListener listener_;
  Channel<SignalInfo> channel_;
  Greenlet<> carrier_;
};

}  // namespace grove

#endif  // GROVE_SYNC_SIGNAL_CHANNEL_H_
