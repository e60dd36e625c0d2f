// Counts primes on native threads, while the greenlets of the hub go on.
//
//   bazel run --config=opt //examples:thread_pool -- --below=20000000 --threads=2
//   bazel run --config=opt //examples:thread_pool -- --below=20000000 --threads=0
//
// Look at Count(): a hub is one thread, and who computes on it stops every greenlet
// there. ThreadPool::IMapUnordered() does the work elsewhere, as many pieces at a time as
// there are threads, and gives the results as they get ready; an error of one piece would
// come here as an exception, and end the rest. --threads=0 computes on the hub, for
// comparison: the ticker, a greenlet that is to run each millisecond, then never does.

#include "grove/green/thread_pool.h"

#include <stdio.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"

ABSL_FLAG(int64_t, below, 2'000'000, "primes below this are counted");
ABSL_FLAG(int, threads, 2, "native threads; 0 counts on the hub");
ABSL_FLAG(int, pieces, 16, "how many pieces the work is cut into");

namespace {

using grove::Greenlet;
using grove::ThreadPool;
using grove::examples::ParseFlags;
using grove::examples::Refuse;

struct Piece {
  int64_t from;
  int64_t to;
};

int64_t CountPrimes(const Piece& piece) {
  // A sieve of the piece by all that can divide what is in it.
  std::vector<bool> composite(piece.to - piece.from);
  for (int64_t d = 2; d * d < piece.to; ++d) {
    const int64_t first = std::max(d * d, (piece.from + d - 1) / d * d);
    for (int64_t n = first; n < piece.to; n += d) composite[n - piece.from] = true;
  }
  int64_t count = 0;
  for (int64_t n = std::max<int64_t>(piece.from, 2); n < piece.to; ++n) {
    count += !composite[n - piece.from];
  }
  return count;
}

int64_t Count(const std::vector<Piece>& pieces, int threads) {
  int64_t primes = 0;
  size_t done = 0;
  const auto tell = [&](int64_t count) {
    primes += count;
    fprintf(stderr, "%zu of %zu pieces\n", ++done, pieces.size());
  };
  if (threads == 0) {
    for (const Piece& piece : pieces) tell(CountPrimes(piece));
    return primes;
  }
  ThreadPool pool({.name = "primes", .max_threads = threads});
  for (const int64_t count : pool.IMapUnordered(&CountPrimes, pieces)) tell(count);
  return primes;
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Counts primes on native threads.\n"
             "  thread_pool [--below=2000000] [--threads=2] [--pieces=16]");
  const int64_t below = absl::GetFlag(FLAGS_below);
  const int threads = absl::GetFlag(FLAGS_threads);
  const int pieces = absl::GetFlag(FLAGS_pieces);
  if (below < 0 || below > 1'000'000'000'000) Refuse("--below: from 0 to 10^12");
  if (threads < 0) Refuse("--threads: less than none cannot be");
  if (pieces < 1) Refuse("--pieces: at least one is needed");

  std::vector<Piece> work;
  for (int64_t i = 0; i < pieces; ++i) {
    work.push_back({below * i / pieces, below * (i + 1) / pieces});
  }
  int64_t ticks = 0;
  const Greenlet<> ticker = grove::Spawn([&] {
    for (;;) {
      ++ticks;
      grove::Sleep(absl::Milliseconds(1));
    }
  });
  const int64_t primes = Count(work, threads);
  const int64_t ticks_meanwhile = ticks;
  ticker.Kill();
  printf("%lld primes below %lld; the ticker ran %s\n", static_cast<long long>(primes),
         static_cast<long long>(below),
         ticks_meanwhile > 0 ? absl::StrCat(ticks_meanwhile, " times").c_str() : "never");
  return 0;
}
