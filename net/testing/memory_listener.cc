#include "grove/net/testing/memory_listener.h"

#include <errno.h>

#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/core.h"
#include "grove/green/status.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net {

struct MemoryListener::State {
  MemoryStreamOptions options;
  std::deque<MemoryStream> backlog;
  int failure = 0;
  uint64_t tries = 0;
  bool closed = false;
  green_internal::WaiterList waiters;

  absl::Status Failed(const char* what, int error) const {
    return ErrnoStatus(error, absl::StrCat(what, options.name));
  }
};

MemoryListener::MemoryListener(MemoryStreamOptions options)
    : state_(std::make_shared<State>()) {
  state_->options = std::move(options);
}

absl::StatusOr<MemoryStream> MemoryListener::Connect() {
  if (state_->closed) return state_->Failed("connect to ", ECONNREFUSED);
  MemoryStreamPair pair(state_->options);
  // Each has pieces and faults of its own.
  if (state_->options.seed) ++*state_->options.seed;
  state_->backlog.push_back(std::move(pair.far));
  state_->waiters.NotifyAll();
  return std::move(pair.near);
}

void MemoryListener::FailAccepts(int error) {
  state_->failure = error;
  state_->waiters.NotifyAll();
}

uint64_t MemoryListener::tries() const { return state_->tries; }
size_t MemoryListener::backlog() const { return state_->backlog.size(); }

absl::StatusOr<MemoryStream> MemoryListener::TryAccept() {
  ++state_->tries;
  if (state_->closed) return state_->Failed("accept at ", EBADF);
  if (state_->failure != 0) return state_->Failed("accept at ", state_->failure);
  if (state_->backlog.empty()) return state_->Failed("accept at ", EAGAIN);
  MemoryStream stream = std::move(state_->backlog.front());
  state_->backlog.pop_front();
  return stream;
}

absl::Status MemoryListener::WaitForConnection(Deadline deadline) {
  const std::shared_ptr<State> state = state_;
  while (!state->closed && state->backlog.empty() && state->failure == 0) {
    if (!net_internal::WaitIn(state->waiters, "a connection in memory", deadline)) {
      return absl::DeadlineExceededError(
          absl::StrCat("accept at ", state->options.name, ": the deadline passed"));
    }
  }
  if (!state->closed) return absl::OkStatus();
  return absl::CancelledError(
      absl::StrCat("accept at ", state->options.name, ": closed"));
}

absl::StatusOr<MemoryStream> MemoryListener::Accept(Deadline deadline) {
  for (;;) {
    absl::StatusOr<MemoryStream> stream = TryAccept();
    if (stream.ok() || ErrnoOf(stream.status()) != EAGAIN) return stream;
    if (absl::Status s = WaitForConnection(deadline); !s.ok()) return s;
  }
}

bool MemoryListener::closed() const { return state_->closed; }

void MemoryListener::Close() {
  state_->closed = true;
  for (MemoryStream& stream : state_->backlog) stream.Abort();
  state_->backlog.clear();
  state_->waiters.NotifyAll();
}

MemoryListener::Name MemoryListener::address() const { return {state_->options.name}; }

}  // namespace grove::net
