// Calls of all kinds at once, some of them cancelled and some too late, round after
// round: the load of soak.py, which looks at the server meanwhile. Says after each round
// how many calls there were, and how many did not end as they have to.
//
//   bazel run //examples/grpc:soak_client -- --rounds=6 --round_time=10s

#include <grpcpp/grpcpp.h>
#include <stdio.h>

#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/time/time.h"
#include "examples/grpc/demo.grpc.pb.h"
#include "grove/examples/grpc/bridge/client.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/group.h"
#include "grove/green/sleep.h"
#include "grove/sync/event.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051", "where the server is");
ABSL_FLAG(int, rounds, 6, "how many rounds");
ABSL_FLAG(absl::Duration, round_time, absl::Seconds(10), "how long one is");
ABSL_FLAG(int, round_calls, 0, "how many calls it has, in place of that");
ABSL_FLAG(int, in_flight, 20, "how many greenlets make calls, each one at a time");

namespace {

using grove::bridge::Call;
using grove::bridge::ClientReader;
using grove::bridge::ClientStream;
using grove::bridge::ClientWriter;
using grove::examples::Answer;
using grove::examples::Demo;
using grove::examples::Question;
using Remote = Demo::StubInterface::async_interface;

// Of the streams.
constexpr int kMessages = 20;
constexpr int64_t kForEver = 3'600'000;

// A greenlet of the load. Each kind of call returns whether it went as it has to.
class Caller {
 public:
  explicit Caller(Demo::Stub* stub) : stub_(*stub) { question_.set_text("hello"); }

  bool Make(int kind) {
    switch (kind) {
      case 0:
        return Ask();
      case 1:
        return Repeat();
      case 2:
        return Count();
      case 3:
        return Talk();
      case 4:
        return Killed();
      case 5:
        return Dropped();
      default:
        return TooLate();
    }
  }
  static constexpr int kKinds = 7;

 private:
  bool Ask() {
    grpc::ClientContext context;
    return Call(stub_, &Remote::Ask, &context, question_, &answer_).ok() &&
           answer_.text() == question_.text();
  }

  bool Repeat() {
    Question question = question_;
    question.set_count(kMessages);
    grpc::ClientContext context;
    ClientReader<Answer> reader(&context, [&](auto* reactor) {
      stub_.async()->Repeat(&context, &question, reactor);
    });
    int n = 0;
    while (reader.Read(&answer_)) n += answer_.count() == n;
    return reader.Finish().ok() && n == kMessages;
  }

  bool Count() {
    grpc::ClientContext context;
    ClientWriter<Question> writer(&context, [&](auto* reactor) {
      stub_.async()->Count(&context, &answer_, reactor);
    });
    for (int i = 0; i < kMessages; ++i) writer.Write(question_);
    return writer.Finish().ok() && answer_.count() == kMessages;
  }

  bool Talk() {
    grpc::ClientContext context;
    ClientStream<Question, Answer> talk(
        &context, [&](auto* reactor) { stub_.async()->Talk(&context, reactor); });
    for (int i = 0; i < kMessages; ++i) {
      if (!talk.Write(question_) || !talk.Read(&answer_)) return false;
    }
    return talk.Finish().ok();
  }

  // Its greenlet is killed, sooner or later.
  bool Killed() {
    const grove::Greenlet<> victim = grove::Spawn([this] { WaitForEver({}); });
    for (int i = ++turn_ % 8; i > 0; --i) grove::Yield();
    if (turn_ % 2 == 0) grove::Sleep(absl::Milliseconds(1));
    victim.Kill();
    return victim.killed();
  }

  // A stream that nobody finishes.
  bool Dropped() {
    grpc::ClientContext context;
    ClientStream<Question, Answer> talk(
        &context, [&](auto* reactor) { stub_.async()->Talk(&context, reactor); });
    return talk.Write(question_) && talk.Read(&answer_);
  }

  bool TooLate() {
    return WaitForEver(absl::Milliseconds(5)).error_code() == grpc::DEADLINE_EXCEEDED;
  }

  grpc::Status WaitForEver(grove::Deadline deadline) {
    Question question;
    question.set_wait_ms(kForEver);
    Answer answer;
    grpc::ClientContext context;
    return Call(stub_, &Remote::Wait, &context, question, &answer, deadline);
  }

  Demo::Stub& stub_;
  Question question_;
  Answer answer_;
  int turn_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  using grove::examples::Refuse;
  grove::examples::ParseFlags(argc, argv,
                              "Calls a demo server in all ways, in rounds.\n"
                              "  soak_client [--server=127.0.0.1:50051] [--rounds=6] "
                              "[--round_time=10s | --round_calls=N] [--in_flight=20]");
  if (absl::GetFlag(FLAGS_in_flight) < 1) Refuse("--in_flight: at least one is needed");
  const std::unique_ptr<Demo::Stub> stub = Demo::NewStub(grpc::CreateChannel(
      absl::GetFlag(FLAGS_server), grpc::InsecureChannelCredentials()));
  const int round_calls = absl::GetFlag(FLAGS_round_calls);
  bool done = false;
  int made = 0, failed = 0, wanted = round_calls;
  grove::AutoResetEvent enough;
  grove::Group group;
  for (int i = 0; i < absl::GetFlag(FLAGS_in_flight); ++i) {
    group.Spawn([&, kind = i]() mutable {
      for (Caller caller(stub.get()); !done; ++kind) {
        if (!caller.Make(kind % Caller::kKinds) && ++failed == 1) {
          fprintf(stderr, "soak_client: a call of kind %d\n", kind % Caller::kKinds);
        }
        if (++made == wanted) enough.Set();
      }
    });
  }
  for (int round = absl::GetFlag(FLAGS_rounds); round > 0; --round) {
    if (round_calls > 0) {
      enough.Wait();
    } else {
      grove::Sleep(absl::GetFlag(FLAGS_round_time));
    }
    wanted = made + round_calls;
    printf("%d calls, %d failed\n", made, failed);
    fflush(stdout);
  }
  done = true;
  group.Join();
  return failed == 0 ? 0 : 1;
}
