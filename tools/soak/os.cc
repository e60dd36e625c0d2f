#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <mutex>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/types/span.h"
#include "grove/green/os/pipe.h"
#include "grove/green/os/run.h"
#include "grove/green/os/signals.h"
#include "grove/green/os/waitpid.h"
#include "grove/green/poll.h"
#include "grove/sync/mutex.h"
#include "grove/sync/signal_channel.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void BytesThroughAPipe(Scene& s) {
  const Connections connections(s, 1);
  // One page, so that writers wait.
  absl::StatusOr<Pipe> pipe = MakePipe(1);
  s.Check(pipe.ok(), "there is a pipe");
  if (!pipe.ok()) return;
  Mutex one;  // writes at a time
  size_t tried = 0;
  size_t written = 0;
  size_t read = 0;
  // Not one that is killed: it ends when the writers have closed.
  const Greenlet<> reader = Spawn([&] {
    char buffer[1000];
    for (;;) {
      const absl::StatusOr<size_t> n = pipe->reader.Read(absl::MakeSpan(buffer));
      s.Check(n.ok(), "the pipe can be read");
      if (!n.ok() || *n == 0) return;
      read += *n;
    }
  });
  {
    // What has been written must be read also if this scene is killed.
    struct Finish {
      ~Finish() {
        const Shield shield;
        writer.Close();
        reader.Join();
      }
      PipeWriter& writer;
      const Greenlet<>& reader;
    } finish{pipe->writer, reader};
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, rounds = s.Rounds(), size = 1 + s.lots.Below(3000)] {
        const std::string data(size, 'x');
        for (int r = 0; r < rounds; ++r) {
          const std::lock_guard hold(one);
          tried += size;
          if (pipe->writer.Write(data, s.SoonOrNever()).ok()) written += size;
          s.Pause();
        }
      });
    }
    crowd.Stir();
    crowd.Join();
  }
  s.Check(written <= read && read <= tried, "what was written is read once");
}

void Polling(Scene& s) {
  const Connections connections(s, 1);
  struct EventFd {
    ~EventFd() { close(fd); }
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  } event;
  s.Check(event.fd >= 0, "there is an eventfd");
  if (event.fd < 0) return;
  bool written = false;
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&] {
      pollfd fds[] = {{-1, POLLIN, 0}, {event.fd, POLLIN, 0}};
      const Deadline deadline = s.SoonOrNever();
      const absl::StatusOr<int> ready = Poll(absl::MakeSpan(fds), deadline);
      s.Check(ready.ok(), "a descriptor can be polled");
      if (!ready.ok()) return;
      s.Check(*ready == 1 ? written && fds[1].revents == POLLIN
                          : *ready == 0 && !deadline.infinite(),
              "what is told to be readable is");
    });
  }
  crowd.Stir();
  written = true;
  s.Check(eventfd_write(event.fd, 1) == 0, "an eventfd can be written to");
  crowd.Join();
}

void Children(Scene& s) {
  // A process each, with three pipes, and seldom: they are a thousand times as dear as
  // all else here.
  if (!s.lots.OneIn(8)) return;
  constexpr int kAtOnce = 2;
  constexpr int kPipes = 4;
  const Connections connections(s, kAtOnce * kPipes);
  Crowd crowd(s);
  for (int i = 0; i < kAtOnce; ++i) {
    crowd.Add([&, size = 1 + s.lots.Below(100'000)] {
      const std::string text(size, static_cast<char>('a' + s.lots.Below(26)));
      const Deadline deadline = s.SoonOrNever();
      const absl::StatusOr<CompletedProcess> done =
          RunProcess({"cat"}, {.input = text, .deadline = deadline});
      if (done.ok()) {
        s.Check(done->status.exit_code() == 0 && done->out == text,
                "it gives back what it got");
      } else {
        s.Check(!deadline.infinite() && absl::IsDeadlineExceeded(done.status()),
                "it ends by itself, or at the deadline");
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

// Who is started by posix_spawn(), as other libraries do it.
void ChildrenOfOthers(Scene& s) {
  if (!s.lots.OneIn(8)) return;
  const Connections connections(s, 1);
  const std::string code = std::to_string(s.lots.Below(100));
  const char* const argv[] = {"sh", "-c", "exit $0", code.c_str(), nullptr};
  pid_t pid = -1;
  const int error =
      posix_spawn(&pid, "/bin/sh", nullptr, nullptr, const_cast<char**>(argv), environ);
  s.Check(error == 0, "a child is started");
  if (error != 0) return;
  int reaped = 0;
  const auto reap = [&](Deadline deadline) {
    const absl::StatusOr<EndedChild> child = WaitPid(pid, deadline);
    if (child.ok()) {
      ++reaped;
      s.Check(child->pid == pid && child->status.exit_code() == std::stoi(code),
              "a child's end is told as it was");
    }
  };
  // It is reaped also if the scene is killed.
  const absl::Cleanup finish = [&] {
    const Shield shield;
    reap(Deadline());
    s.Check(reaped == 1, "each child is reaped once");
  };
  Crowd crowd(s);
  for (int i = 0; i < 3; ++i) crowd.Add([&] { reap(s.SoonOrNever()); });
  crowd.Stir();
  crowd.Join();
}

void Signals(Scene& s) {
  // Which does nothing by default. Others send it too, and several may be one.
  SignalListener listener({SIGWINCH});
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        kill(getpid(), SIGWINCH);
        s.Pause();
        const std::optional<int> got = listener.Wait(s.SoonOrNever());
        s.Check(!got || *got == SIGWINCH, "it is the one that was asked for");
      }
    });
  }
  crowd.Stir();
  // Those that are left wait for one that nobody sends any more.
  for (const AnyGreenlet& g : crowd.all()) {
    while (!g.Join(absl::Milliseconds(1))) kill(getpid(), SIGWINCH);
  }
}

void SignalsAsAChannel(Scene& s) {
  SignalChannel signals({SIGWINCH});
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const Deadline deadline = s.SoonOrNever();
        const absl::StatusOr<SignalInfo> got = signals.Receive(deadline);
        s.Check(got.ok() ? got->signum == SIGWINCH : !deadline.infinite(),
                "it is the one that was asked for");
        s.Pause();
      }
    });
  }
  crowd.Stir();
  for (const AnyGreenlet& g : crowd.all()) {
    while (!g.Join(absl::Milliseconds(1))) kill(getpid(), SIGWINCH);
  }
}

}  // namespace

std::vector<Scenario> OsScenarios() {
  return {{"pipe", &BytesThroughAPipe}, {"poll", &Polling},
          {"children", &Children},      {"waitpid", &ChildrenOfOthers},
          {"signals", &Signals},        {"signal_channel", &SignalsAsAChannel}};
}

}  // namespace grove::soak
