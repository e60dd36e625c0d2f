#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "grove/green/call.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/pipe.h"
#include "grove/green/os/run.h"
#include "grove/green/os/signals.h"
#include "grove/green/thread_pool.h"
#include "grove/sync/mutex.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

void OnOtherThreads(Scene& s) {
  ThreadPool& pool = ThreadPool::Default();
  // The pool's threads count in it, also for those who did not wait for the end.
  const auto begun = std::make_shared<std::atomic<int>>(0);
  int returned = 0;
  std::vector<PoolTask<int>> tasks;
  {
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, i, rounds = s.Rounds()] {
        for (int r = 0; r < rounds; ++r) {
          if (s.lots.OneIn(3)) {
            tasks.push_back(pool.Spawn([begun, i] {
              ++*begun;
              return i;
            }));
          } else {
            const absl::StatusOr<int> got = pool.Apply(
                [begun, i, r] {
                  ++*begun;
                  return i * 100 + r;
                },
                s.SoonOrNever());
            if (got.ok()) ++returned;
            s.Check(!got.ok() || *got == i * 100 + r, "the caller gets its own result");
          }
          s.Pause();
        }
      });
    }
    crowd.Stir();
    crowd.Join();
  }
  int ran = 0;
  for (const PoolTask<int>& task : tasks) {
    if (s.lots.OneIn(3)) task.Cancel();
    task.Join();
    ran += task.successful();
  }
  s.Check(returned + ran <= *begun, "what returned has run");
}

void BytesThroughAPipe(Scene& s) {
  if (!s.world().connections.acquire(1, Deadline())) return;
  struct Release {
    ~Release() { world.connections.release(1); }
    World& world;
  } release{s.world()};
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

// A folder of its own, which goes with all that is in it.
class Folder {
 public:
  Folder() {
    const char* base = getenv("TEST_TMPDIR");
    path_ = absl::StrCat(base ? base : "/tmp", "/grove_soak.XXXXXX");
    if (mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  Folder(const Folder&) = delete;
  ~Folder() {
    const Shield shield;
    if (!path_.empty()) RemoveTree(path_).status().IgnoreError();
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void AFileIsReplaced(Scene& s) {
  const Folder folder;
  s.Check(!folder.path().empty(), "there is a folder");
  if (folder.path().empty()) return;
  const std::string path = folder.path() + "/state";
  const auto replace = [&](char letter, size_t size) {
    return ReplaceFile(path, std::string(size, letter), {.sync = false});
  };
  s.Check(replace('a', 1).ok(), "a file is made");
  {
    Crowd crowd(s);
    for (int i = s.Workers(); i > 0; --i) {
      crowd.Add([&, i, rounds = s.Rounds(), size = 1 + s.lots.Below(20'000)] {
        for (int r = 0; r < rounds; ++r) {
          if (i % 2) {
            s.Check(replace(static_cast<char>('a' + i), size).ok(), "it is replaced");
          } else {
            const absl::StatusOr<std::string> text = ReadFile(path);
            s.Check(text.ok() && !text->empty(), "it is always there");
            s.Check(!text.ok() || text->find_first_not_of((*text)[0]) == text->npos,
                    "it is one's or another's, as a whole");
          }
          s.Pause();
        }
      });
    }
    crowd.Stir();
    crowd.Join();
  }
  const auto entries = ListDirectory(folder.path());
  s.Check(entries.ok() && entries->size() == 1, "nothing is left beside it");
}

void Children(Scene& s) {
  // A process each, with three pipes, and seldom: they are a thousand times as dear as
  // all else here.
  if (!s.lots.OneIn(8)) return;
  constexpr int kAtOnce = 2;
  constexpr int kPipes = 4;
  if (!s.world().connections.acquire(kAtOnce * kPipes, Deadline())) return;
  struct Release {
    ~Release() { world.connections.release(kAtOnce * kPipes); }
    World& world;
  } release{s.world()};
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

void CallsToTheOtherHub(Scene& s) {
  Crowd crowd(s);
  for (int i = s.Workers(); i > 0; --i) {
    crowd.Add([&, i, rounds = s.Rounds()] {
      for (int r = 0; r < rounds; ++r) {
        const uint64_t nap = s.lots.Below(1000);
        const Deadline deadline = s.SoonOrNever();
        const int asked = i * 100 + r;
        int seen = 0;  // there, where this greenlet waits for it to end
        const absl::StatusOr<int> got = Call(
            s.world().other,
            [&] {
              Sleep(absl::Microseconds(nap));
              seen = asked;
              return asked;
            },
            deadline);
        s.Check(got.ok() ? *got == asked && seen == asked
                         : !deadline.infinite() && absl::IsDeadlineExceeded(got.status()),
                "a call returns what was returned there, or ends at its deadline");
        s.Pause();
      }
    });
  }
  crowd.Stir();
  crowd.Join();
}

}  // namespace

std::vector<Scenario> OsScenarios() {
  return {{"thread_pool", &OnOtherThreads},
          {"pipe", &BytesThroughAPipe},
          {"replaced_file", &AFileIsReplaced},
          {"children", &Children},
          {"signals", &Signals},
          {"hubs_call", &CallsToTheOtherHub}};
}

}  // namespace grove::soak
