#include "grove/patch/adapters/traced_calls.h"

#include <stdlib.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace grove::patch {
namespace {

template <size_t N>
bool In(const absl::string_view (&names)[N], absl::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Calls that wait, unless the descriptor, their first argument, is non-blocking.
constexpr absl::string_view kOfDescriptors[] = {
    "accept",  "accept4",  "connect", "read",   "readv", "recvfrom", "recvmmsg",
    "recvmsg", "sendmmsg", "sendmsg", "sendto", "write", "writev"};
// Calls that do nothing but wait.
constexpr absl::string_view kOnlyWait[] = {
    "clock_nanosleep", "flock",           "mq_timedreceive", "mq_timedsend",
    "msgrcv",          "msgsnd",          "nanosleep",       "pause",
    "rt_sigsuspend",   "rt_sigtimedwait", "semop",           "semtimedop",
    "sendfile",        "splice",          "io_uring_enter",  "vmsplice"};

// Calls that change nothing about who is ready.
constexpr absl::string_view kOfMemory[] = {"brk",      "fstat",  "mmap",
                                           "mprotect", "munmap", "newfstatat"};

int ToNumber(absl::string_view text) {
  int number = -1;
  return absl::SimpleAtoi(text, &number) ? number : -1;
}

absl::string_view FirstWord(absl::string_view text) {
  return text.substr(0, text.find_first_of(", )"));
}

absl::string_view LastArgument(absl::string_view arguments) {
  const size_t comma = arguments.rfind(", ");
  return comma == absl::string_view::npos ? arguments : arguments.substr(comma + 2);
}

}  // namespace

bool TracedCalls::CouldBlock(const Call& call) {
  const auto has = [&](absl::string_view word) {
    return absl::StrContains(call.arguments, word);
  };
  if (In(kOnlyWait, call.name)) return true;
  if (call.name == "futex") {
    if (!has("FUTEX_WAIT") && !has("FUTEX_LOCK_PI")) return false;
    const bool plain_lock = absl::EndsWith(call.arguments, "FUTEX_WAIT_PRIVATE, 2, NULL");
    return !(has_threads_ && plain_lock);
  }
  if (call.name == "wait4" || call.name == "waitid") return !has("WNOHANG");
  if (call.name == "fcntl") return has("SETLKW");
  if (call.name == "poll") return LastArgument(call.arguments) != "0";
  if (call.name == "ppoll" || call.name == "pselect6" || call.name == "select") {
    return !has("{tv_sec=0, tv_nsec=0}") && !has("{tv_sec=0, tv_usec=0}");
  }
  if (absl::StartsWith(call.name, "epoll_wait") ||
      absl::StartsWith(call.name, "epoll_pwait")) {
    const std::vector<absl::string_view> all = absl::StrSplit(call.arguments, ", ");
    if (call.name == "epoll_wait" && all.back() == "0") return false;
    if (loop_ < 0) loop_ = call.fd;
    return call.fd != loop_;
  }
  if (call.name == "preadv2" || call.name == "pwritev2") {
    return !has("RWF_NOWAIT") && !files_.contains(call.fd);
  }
  if (!In(kOfDescriptors, call.name)) return false;
  if (has("MSG_DONTWAIT") || call.fd == ready_ || files_.contains(call.fd)) return false;
  const bool writes = absl::StartsWith(call.name, "write");
  if (writes && (call.fd == 1 || call.fd == 2)) return false;
  // One that this thread has not made was given to it, and is as those are: blocking.
  const auto known = waits_.find(call.fd);
  return known == waits_.end() || known->second;
}

// What the call has made of which descriptor.
void TracedCalls::Follow(const Call& call) {
  const auto has = [&](absl::string_view word) {
    return absl::StrContains(call.arguments, word);
  };
  const bool non_blocking = has("NONBLOCK");
  if (!In(kOfMemory, call.name)) ready_ = -1;
  if (call.returned < 0) return;
  if (call.name == "close") {
    waits_.erase(call.fd);
    files_.erase(call.fd);
  } else if (call.name == "openat" || call.name == "open") {
    files_.insert(call.returned);
  } else if (call.name == "pipe2" || call.name == "socketpair" || call.name == "pipe") {
    const absl::string_view pair = call.arguments.substr(call.arguments.find('[') + 1);
    waits_[ToNumber(FirstWord(pair))] = !non_blocking;
    const absl::string_view second = pair.substr(pair.find(", ") + 2);
    waits_[ToNumber(second.substr(0, second.find(']')))] = !non_blocking;
  } else if (call.name == "fcntl" && has("F_SETFL")) {
    waits_[call.fd] = !non_blocking;
  } else if (absl::StartsWith(call.name, "dup") ||
             (call.name == "fcntl" && has("F_DUPFD"))) {
    const auto known = waits_.find(call.fd);
    waits_[call.returned] = known == waits_.end() || known->second;
    if (files_.contains(call.fd)) files_.insert(call.returned);
  } else if (call.name == "socket" || call.name == "accept" || call.name == "accept4" ||
             call.name == "eventfd2" || call.name == "timerfd_create" ||
             call.name == "signalfd4" || absl::StartsWith(call.name, "inotify_init")) {
    waits_[call.returned] = !non_blocking;
  } else if ((call.name == "ppoll" || call.name == "poll") && call.returned == 1 &&
             absl::StartsWith(call.arguments, "[{fd=")) {
    ready_ = ToNumber(FirstWord(call.arguments.substr(sizeof "[{fd=" - 1)));
  } else if (absl::StartsWith(call.name, "clone") && has("CLONE_THREAD")) {
    has_threads_ = true;
  }
}

void TracedCalls::Add(absl::string_view line) {
  const size_t open = line.find('(');
  const size_t result = line.rfind(" = ");
  if (open == absl::string_view::npos || result == absl::string_view::npos ||
      result < open || !absl::ascii_islower(static_cast<unsigned char>(line[0]))) {
    return;  // a signal, or the end
  }
  Call call;
  call.name = line.substr(0, open);
  call.arguments =
      absl::StripTrailingAsciiWhitespace(line.substr(open + 1, result - open - 1));
  absl::ConsumeSuffix(&call.arguments, ")");
  call.result = line.substr(result + 3);
  call.fd = ToNumber(FirstWord(call.arguments));
  call.returned = ToNumber(FirstWord(call.result));
  if (judging_) {
    ++judged_;
    if (CouldBlock(call)) blocking_.emplace_back(line);
    const bool io = In(kOfDescriptors, call.name) || call.name == "preadv2" ||
                    call.name == "pwritev2";
    if (io && (absl::StrContains(call.result, "EAGAIN") ||
               absl::StrContains(call.result, "EINPROGRESS"))) {
      ++would_have_blocked_;
    }
  }
  Follow(call);
  // PatchAll() begins by looking for threads.
  if (absl::StrContains(line, "\"/proc/self/task\"")) judging_ = true;
}

}  // namespace grove::patch
