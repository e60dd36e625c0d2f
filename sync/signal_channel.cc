#include "grove/sync/signal_channel.h"

#include "grove/green/timeout.h"

namespace grove {

SignalChannel::SignalChannel(std::initializer_list<int> signals) : listener_(signals) {
  carrier_ = Spawn({.name = "signal channel"}, [this] {
    while (channel_.Send(*listener_.WaitInfo()).ok()) {
    }
  });
}

SignalChannel::~SignalChannel() {
  Shield shield;
  channel_.Close();
  carrier_.Kill();
}

}  // namespace grove
