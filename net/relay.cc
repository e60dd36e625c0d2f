#include "grove/net/relay.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/green/task_group.h"
#include "grove/net/copy.h"

namespace grove::net {
namespace {

absl::Status CopyAll(Stream& from, Stream& to, uint64_t& bytes, Deadline deadline) {
  if (absl::Status s = Copy(from, to, &bytes, deadline); !s.ok()) return s;
  // Where it is TLS there is a handshake before the end, and the end may have to wait.
  if (absl::Status s = to.Write({}, deadline); !s.ok()) return s;
  if (absl::Status s = to.ShutdownWrite(); !s.ok()) return s;
  return to.has_unsent() ? to.Write({}, deadline) : absl::OkStatus();
}

// Looks at what has gone now and then, which costs what is carried nothing.
absl::Status JoinUnlessIdle(TaskGroup& both, const Stream& a, const Stream& b,
                            const RelayedBytes& bytes, absl::Duration limit) {
  const absl::Duration period = std::max(limit / 8, absl::Milliseconds(1));
  uint64_t before = 0;
  MonotonicNanos since = ThisHub().Now();
  while (both.running() > 0) {
    if (both.Join(period).ok()) break;
    // The streams know of what is under way, too.
    const uint64_t now = bytes.a_to_b + bytes.b_to_a + a.activity().bytes_written +
                         b.activity().bytes_written;
    if (std::exchange(before, now) != now) since = ThisHub().Now();
    if (absl::Nanoseconds(ThisHub().Now() - since) >= limit) {
      return absl::DeadlineExceededError(
          absl::StrCat("nothing has gone for ", absl::FormatDuration(limit)));
    }
  }
  return both.Join();
}

}  // namespace

absl::Status Relay(Stream& a, Stream& b, const RelayOptions& options,
                   RelayedBytes* bytes) {
  RelayedBytes uncounted;
  RelayedBytes& count = bytes ? *bytes : uncounted;
  bool whole = false;
  const absl::Cleanup abort = [&] {
    if (whole) return;
    a.Abort();
    b.Abort();
  };
  TaskGroup both({.name = "relay"});
  both.Spawn([&] { return CopyAll(a, b, count.a_to_b, options.deadline); });
  both.Spawn([&] { return CopyAll(b, a, count.b_to_a, options.deadline); });
  absl::Status s = options.idle_limit == absl::InfiniteDuration()
                       ? both.Join()
                       : JoinUnlessIdle(both, a, b, count, options.idle_limit);
  whole = s.ok();
  return s;
}

}  // namespace grove::net
