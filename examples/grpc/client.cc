// Calls each method of a demo server (server.cc), or one many times at once, from
// greenlets.
//
//   bazel run //examples/grpc:client -- --server=127.0.0.1:50051
//   bazel run //examples/grpc:client -- --calls=100000 --in_flight=100
//
// Look at how a call of each kind reads as if it blocked.

#include "grove/examples/grpc/bridge/client.h"

#include <grpcpp/grpcpp.h>
#include <stdio.h>

#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "examples/grpc/demo.grpc.pb.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/group.h"
#include "grove/hub/clock.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051", "where the server is");
ABSL_FLAG(int, calls, 0, "how many unary calls to make, and nothing else");
ABSL_FLAG(int, seconds, 0, "make them for so long, and say every ten seconds how many");
ABSL_FLAG(int, in_flight, 100, "how many of them at a time, each by a greenlet");
ABSL_FLAG(int, wait_ms, 0, "how long the server is to wait before it answers each");
ABSL_FLAG(absl::Duration, deadline, absl::Minutes(10), "for all of it");

namespace {

using grove::bridge::Call;
using grove::bridge::ClientReader;
using grove::bridge::ClientStream;
using grove::bridge::ClientWriter;
using grove::examples::Answer;
using grove::examples::Demo;
using grove::examples::Question;
using Remote = Demo::StubInterface::async_interface;

bool Report(const char* method, const grpc::Status& status, const std::string& said) {
  if (status.ok()) {
    printf("%s: %s\n", method, said.c_str());
  } else {
    printf("%s: error %d, %s\n", method, static_cast<int>(status.error_code()),
           status.error_message().c_str());
  }
  return status.ok();
}

bool OfEach(Demo::Stub& stub) {
  Question question;
  question.set_text("hello");
  question.set_count(3);
  Answer answer;

  grpc::ClientContext ask_context;
  const grpc::Status asked = Call(stub, &Remote::Ask, &ask_context, question, &answer);
  bool ok = Report("Ask", asked, answer.text());

  grpc::ClientContext repeat_context;
  ClientReader<Answer> repeat(&repeat_context, [&](auto* reactor) {
    stub.async()->Repeat(&repeat_context, &question, reactor);
  });
  std::string all;
  while (repeat.Read(&answer)) absl::StrAppend(&all, answer.text(), answer.count(), " ");
  ok &= Report("Repeat", repeat.Finish(), all);

  grpc::ClientContext count_context;
  ClientWriter<Question> count(&count_context, [&](auto* reactor) {
    stub.async()->Count(&count_context, &answer, reactor);
  });
  for (int i = 0; i < 3; ++i) count.Write(question);
  const grpc::Status counted = count.Finish();
  ok &= Report("Count", counted, absl::StrCat(answer.count()));

  grpc::ClientContext talk_context;
  ClientStream<Question, Answer> talk(
      &talk_context, [&](auto* reactor) { stub.async()->Talk(&talk_context, reactor); });
  all.clear();
  for (int i = 0; i < 3; ++i) {
    question.set_text(absl::StrCat("talk", i));
    if (!talk.Write(question) || !talk.Read(&answer)) break;
    absl::StrAppend(&all, answer.text(), " ");
  }
  return Report("Talk", talk.Finish(), all) && ok;
}

// `calls` of them, or as many as there is time for.
bool Many(Demo::Stub& stub, int calls, absl::Duration time) {
  int made = 0;
  int failed = 0;
  const grove::Deadline end = time;
  const grove::MonotonicNanos begin = grove::Clock::Real()->Now();
  grove::Group group;
  for (int i = 0; i < absl::GetFlag(FLAGS_in_flight); ++i) {
    group.Spawn([&] {
      Question question;
      question.set_text("hello");
      question.set_wait_ms(absl::GetFlag(FLAGS_wait_ms));
      Answer answer;
      while (end.infinite() ? made < calls : !end.HasPassed()) {
        ++made;
        grpc::ClientContext context;
        const grpc::Status status =
            Call(stub, &Remote::Wait, &context, question, &answer);
        if (!status.ok() && ++failed == 1) Report("Wait", status, "");
      }
    });
  }
  for (int before = 0; !group.Join(absl::Seconds(10)); before = made) {
    printf("%d calls/s\n", (made - before) / 10);
    fflush(stdout);
  }
  const double seconds = static_cast<double>(grove::Clock::Real()->Now() - begin) / 1e9;
  printf("%d calls, %d failed, in %.3f s\n", made, failed, seconds);
  return failed == 0;
}

}  // namespace

int main(int argc, char** argv) {
  using grove::examples::Refuse;
  grove::examples::ParseFlags(
      argc, argv,
      "Calls a demo server.\n"
      "  client [--server=127.0.0.1:50051] [--calls=N | --seconds=N] "
      "[--in_flight=100] [--wait_ms=0] [--deadline=10m]");
  if (absl::GetFlag(FLAGS_in_flight) < 1) Refuse("--in_flight: at least one is needed");
  const std::unique_ptr<Demo::Stub> stub = Demo::NewStub(grpc::CreateChannel(
      absl::GetFlag(FLAGS_server), grpc::InsecureChannelCredentials()));
  const int calls = absl::GetFlag(FLAGS_calls);
  const int seconds = absl::GetFlag(FLAGS_seconds);
  if (calls < 0 || seconds < 0) Refuse("--calls, --seconds: less than none");
  const absl::StatusOr<bool> ok = grove::WithDeadline(absl::GetFlag(FLAGS_deadline), [&] {
    if (seconds > 0) return Many(*stub, 0, absl::Seconds(seconds));
    return calls > 0 ? Many(*stub, calls, absl::InfiniteDuration()) : OfEach(*stub);
  });
  if (!ok.ok()) fprintf(stderr, "client: %s\n", ok.status().ToString().c_str());
  return ok.ok() && *ok ? 0 : 1;
}
