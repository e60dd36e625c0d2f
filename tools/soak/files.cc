#include <stdlib.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/file_watcher.h"
#include "tools/soak/scene.h"

namespace grove::soak {
namespace {

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

void ChangesAreTold(Scene& s) {
  const Folder folder;
  s.Check(!folder.path().empty(), "there is a folder");
  if (folder.path().empty()) return;
  FileWatcher watcher;
  s.Check(watcher.Watch(folder.path()).ok(), "a folder can be watched");
  const auto make = [&](absl::string_view name) {
    return WriteFile(absl::StrCat(folder.path(), "/", name), "x").ok();
  };
  Crowd crowd(s);
  // One that waits at a time, which may be killed; then another goes on.
  crowd.Add([&] {
    while (watcher.Next(s.SoonOrNever()).ok()) s.Pause();
  });
  crowd.Stir();
  crowd.all().front().Kill();
  for (int i = s.Rounds(); i > 0; --i) {
    s.Check(make(absl::StrCat("file-", i)), "a file is made");
    s.Pause();
  }
  s.Check(make("last"), "the last file is made");
  const Deadline hangs = absl::Minutes(5);
  for (;;) {
    const absl::StatusOr<FileEvent> event = watcher.Next(hangs);
    s.Check(event.ok(), "what has changed is told");
    if (!event.ok() || event->change == FileChange::kRescan ||
        absl::EndsWith(event->path, "/last")) {
      return;
    }
  }
}

}  // namespace

std::vector<Scenario> FileScenarios() {
  return {{"replaced_file", &AFileIsReplaced}, {"file_watcher", &ChangesAreTold}};
}

}  // namespace grove::soak
