// Deadlines in a tree of calls: one budget for a request, whatever it calls and spawns.
//
//   bazel run //examples:deadlines
//   bazel run //examples:deadlines -- --budget=50ms
//   bazel run //examples:deadlines -- --user=10ms --posts=20ms --ads=10s --archive=1s
//
// A page is made of a user and his posts, without which there is none; of ads, which get
// a limit of their own and are left out if they are late; and of an archive that is kept
// in two places, of which the faster one is taken. The flags say how long each takes.
//
// Look at RenderPage(): WithDeadline() is inherited by all that is spawned below it, so
// that no function takes a deadline as an argument; WithTimeout() bounds one call;
// TaskGroup ends what is left over, so that nothing runs on when the page is there, or
// cannot be. The log says what became of each call.

#include <stdio.h>

#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/task_group.h"
#include "grove/green/timeout.h"

ABSL_FLAG(absl::Duration, budget, absl::Seconds(1), "for the whole page");
ABSL_FLAG(absl::Duration, ads_limit, absl::Milliseconds(100), "for the ads");
ABSL_FLAG(absl::Duration, user, absl::Milliseconds(20), "how long the user takes");
ABSL_FLAG(absl::Duration, posts, absl::Milliseconds(30), "how long his posts take");
ABSL_FLAG(absl::Duration, ads, absl::Milliseconds(10), "how long the ads take");
ABSL_FLAG(absl::Duration, archive, absl::Milliseconds(40),
          "how long the first archive takes");
ABSL_FLAG(absl::Duration, mirror, absl::Milliseconds(10),
          "how long the second archive takes");
ABSL_FLAG(bool, no_user, false, "there is no such user");

namespace {

using grove::Greenlet;
using grove::TaskGroup;
using grove::examples::ParseFlags;

// What stands for a call to some other service.
std::string Call(const std::string& what, absl::Duration takes) {
  try {
    grove::Sleep(takes);
  } catch (const grove::TimeoutExpired&) {
    printf("%s: out of time\n", what.c_str());
    throw;
  } catch (const grove::Interrupt&) {
    printf("%s: not needed any more\n", what.c_str());
    throw;
  }
  printf("%s: done\n", what.c_str());
  return what;
}

absl::StatusOr<std::string> FetchUser() {
  std::string user = Call("user", absl::GetFlag(FLAGS_user));
  if (absl::GetFlag(FLAGS_no_user)) return absl::NotFoundError("no such user");
  return user;
}

// Whichever is faster; the other one is ended.
std::string FetchArchive() {
  std::string first;
  TaskGroup both({.name = "archive"});
  const auto race = [&](const char* name, absl::Duration takes) {
    std::string got = Call(name, takes);
    if (!both.cancelled()) first = std::move(got);
    both.Cancel();
  };
  both.Spawn([&] { race("archive", absl::GetFlag(FLAGS_archive)); });
  both.Spawn([&] { race("mirror", absl::GetFlag(FLAGS_mirror)); });
  both.Join().IgnoreError();
  return first;
}

// Without ads if they are late.
std::string FetchAds() {
  return grove::WithTimeout(absl::GetFlag(FLAGS_ads_limit),
                            [] { return Call("ads", absl::GetFlag(FLAGS_ads)); })
      .value_or("no ads");
}

absl::StatusOr<std::string> RenderPage() {
  TaskGroup parts({.name = "page"});
  const Greenlet<absl::StatusOr<std::string>> user = parts.Spawn(&FetchUser);
  const Greenlet<std::string> posts =
      parts.Spawn([] { return Call("posts", absl::GetFlag(FLAGS_posts)); });
  const Greenlet<std::string> archive = parts.Spawn(&FetchArchive);
  const Greenlet<std::string> ads = parts.Spawn(&FetchAds);
  // The first that fails ends the others.
  if (absl::Status s = parts.Join(); !s.ok()) return s;
  return absl::StrCat(*user.Get(), ", ", *posts.Get(), ", ", *archive.Get(), ", ",
                      *ads.Get());
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Makes a page out of several calls, within a budget.\n"
             "  deadlines [--budget=1s] [--ads_limit=100ms] [--user=20ms] [--posts=30ms] "
             "[--ads=10ms] [--archive=40ms] [--mirror=10ms] [--no_user]");
  const absl::StatusOr<std::string> page =
      grove::WithDeadline(absl::GetFlag(FLAGS_budget), &RenderPage);
  if (!page.ok()) {
    printf("no page: %s\n", absl::StatusCodeToString(page.status().code()).c_str());
    fprintf(stderr, "deadlines: %s\n", page.status().ToString().c_str());
    return 1;
  }
  printf("page: %s\n", page->c_str());
  return 0;
}
