// Producers that read lines, consumers that work on them, and queues between that keep
// the faster side from running away.
//
//   bazel run //examples:producer_consumer -- --consumers=4 $PWD/README.md $PWD/LICENSE
//   yes | bazel run //examples:producer_consumer -- --work=100ms        (and Ctrl-C)
//
// Look at Run(): Put() waits while --capacity items wait in the queue, so that files are
// read no faster than their lines are worked on, and these no faster than stdout takes
// the results. At the end of the input, or at SIGINT or SIGTERM, nothing more is put in;
// what is in is worked on; and only then do the consumers end, by Shutdown() of their
// queue. If stdout fails, the TaskGroup ends all of it.
//
// Results come in the order in which they get ready. What was done is told on stderr.

#include <signal.h>
#include <stdio.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/buffered.h"
#include "grove/green/os/file.h"
#include "grove/green/os/pipe.h"
#include "grove/green/os/signals.h"
#include "grove/green/sleep.h"
#include "grove/green/task_group.h"
#include "grove/sync/queue.h"

ABSL_FLAG(int, consumers, 4, "greenlets that work on lines");
ABSL_FLAG(int, capacity, 8, "lines, and results, that may wait");
ABSL_FLAG(absl::Duration, work, absl::ZeroDuration(), "how long a line takes");

namespace {

using grove::BufferedReader;
using grove::File;
using grove::Greenlet;
using grove::PipeReader;
using grove::PipeWriter;
using grove::Queue;
using grove::TaskGroup;
using grove::examples::ParseWords;
using grove::examples::Refuse;

struct Counts {
  uint64_t read = 0;
  uint64_t worked = 0;
  uint64_t written = 0;
  size_t most_waiting = 0;
};

template <typename Source>
absl::Status Produce(Source& source, Queue<std::string>& lines, Counts& counts) {
  BufferedReader reader(source);
  for (const absl::string_view line : reader.Lines()) {
    if (absl::Status s = lines.Put(std::string(line)); !s.ok()) return s;
    ++counts.read;
    counts.most_waiting = std::max(counts.most_waiting, lines.size());
  }
  return reader.status();
}

absl::Status ProduceFrom(const std::string& path, Queue<std::string>& lines,
                         Counts& counts) {
  if (path == "-") {
    absl::StatusOr<PipeReader> in = grove::Stdin();
    return in.ok() ? Produce(*in, lines, counts) : in.status();
  }
  absl::StatusOr<File> file = File::Open(path);
  return file.ok() ? Produce(*file, lines, counts) : file.status();
}

void Consume(Queue<std::string>& lines, Queue<std::string>& results, Counts& counts) {
  for (std::string& line : lines) {
    grove::Sleep(absl::GetFlag(FLAGS_work));
    ++counts.worked;
    results.Put(absl::AsciiStrToUpper(line)).IgnoreError();  // closed after the last one
  }
}

absl::Status Write(Queue<std::string>& results, Counts& counts) {
  absl::StatusOr<PipeWriter> out = grove::Stdout();
  if (!out.ok()) return out.status();
  for (const std::string& result : results) {
    if (absl::Status s = out->Write(result + "\n"); !s.ok()) return s;
    ++counts.written;
  }
  return absl::OkStatus();
}

absl::Status Run(const std::vector<std::string>& paths, size_t capacity, Counts& counts) {
  Queue<std::string> lines(capacity);
  Queue<std::string> results(capacity);
  TaskGroup all({.name = "pipeline"});
  std::vector<Greenlet<absl::Status>> producers;
  for (const std::string& path : paths) {
    producers.push_back(all.Spawn([&] { return ProduceFrom(path, lines, counts); }));
  }
  std::vector<Greenlet<>> consumers;
  for (int i = 0; i < absl::GetFlag(FLAGS_consumers); ++i) {
    consumers.push_back(all.Spawn([&] { Consume(lines, results, counts); }));
  }
  all.Spawn([&] { return Write(results, counts); });

  // A killed Put() has not put its line, and a killed read has lost none that was put.
  const auto stop = [&](const grove::SignalInfo&) {
    for (const auto& producer : producers) producer.Kill();
  };
  const grove::SignalHandler on_int = grove::OnSignal(SIGINT, stop);
  const grove::SignalHandler on_term = grove::OnSignal(SIGTERM, stop);

  // From the front to the back: each ends when nobody can feed it any more.
  for (const auto& producer : producers) producer.Join();
  lines.Shutdown();
  for (const auto& consumer : consumers) consumer.Join();
  results.Shutdown();
  return all.Join();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> paths = ParseWords(
      argc, argv,
      "Writes the lines of files, or of stdin, in capitals.\n"
      "  producer_consumer [--consumers=4] [--capacity=8] [--work=0s] [FILE...]");
  const int capacity = absl::GetFlag(FLAGS_capacity);
  if (capacity < 1) Refuse("--capacity: at least one is needed");
  if (absl::GetFlag(FLAGS_consumers) < 1) Refuse("--consumers: at least one is needed");
  if (paths.empty()) paths.push_back("-");

  Counts counts;
  const absl::Status status = Run(paths, static_cast<size_t>(capacity), counts);
  fprintf(stderr, "%llu lines read, %llu worked on, %llu written; at most %zu waited\n",
          static_cast<unsigned long long>(counts.read),
          static_cast<unsigned long long>(counts.worked),
          static_cast<unsigned long long>(counts.written), counts.most_waiting);
  if (!status.ok()) {
    fprintf(stderr, "producer_consumer: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
