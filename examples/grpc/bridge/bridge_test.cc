// gRPC's own client and server on both sides of the bridge, in one process: handlers run
// on two hubs of their own, the calls that they answer come from the test's hub.

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "examples/grpc/demo.grpc.pb.h"
#include "grove/examples/grpc/bridge/client.h"
#include "grove/examples/grpc/bridge/server.h"
#include "grove/green/blocking.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/group.h"
#include "grove/green/hub_group.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/green/timeout.h"
#include "grove/hub/clock.h"
#include "grove/sync/event.h"
#include "gtest/gtest.h"

namespace grove::bridge {
namespace {

using examples::Answer;
using examples::Demo;
using examples::Question;
using grpc::StatusCode;
using Remote = Demo::StubInterface::async_interface;

// Says how a handler that waits for ever was told to stop.
struct Victim {
  Event began;
  Event ended;
  std::atomic<bool> killed{false};
  std::atomic<bool> timed_out{false};

  [[noreturn]] void WaitForEver() {
    began.Set();
    struct AtEnd {
      ~AtEnd() { event->Set(); }
      Event* event;
    } at_end{&ended};
    try {
      for (;;) Sleep(absl::Hours(1));
    } catch (const GreenletExit&) {
      killed = true;
      throw;
    } catch (const TimeoutExpired&) {
      timed_out = true;
      throw;
    }
  }
};

// Each test says what the methods do.
class Service final : public Demo::CallbackService {
 public:
  explicit Service(Bridge* bridge) : bridge_(bridge) {}

  std::function<grpc::Status(ServerCall&, const Question&, Answer*)> ask, wait;
  std::function<grpc::Status(ServerCall&, const Question&, ServerWriter<Answer>&)> repeat;
  std::function<grpc::Status(ServerCall&, ServerReader<Question>&, Answer*)> count;
  std::function<grpc::Status(ServerCall&, ServerStream<Question, Answer>&)> talk;

 private:
  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context, const Question* q,
                                Answer* a) override {
    return bridge_->Unary(context, q, a, std::ref(ask));
  }
  grpc::ServerUnaryReactor* Wait(grpc::CallbackServerContext* context, const Question* q,
                                 Answer* a) override {
    return bridge_->Unary(context, q, a, std::ref(wait));
  }
  grpc::ServerWriteReactor<Answer>* Repeat(grpc::CallbackServerContext* context,
                                           const Question* q) override {
    return bridge_->ServerStreaming<Answer>(context, q, std::ref(repeat));
  }
  grpc::ServerReadReactor<Question>* Count(grpc::CallbackServerContext* context,
                                           Answer* a) override {
    return bridge_->ClientStreaming<Question>(context, a, std::ref(count));
  }
  grpc::ServerBidiReactor<Question, Answer>* Talk(
      grpc::CallbackServerContext* context) override {
    return bridge_->Bidi<Question, Answer>(context, std::ref(talk));
  }

  Bridge* const bridge_;
};

class BridgeTest : public GreenletTest {
 protected:
  // gRPC's threads post to the hub, and open descriptors of their own.
  GreenletTestOptions Options() const override {
    return {.clock = Clock::Real(),
            .loop_exit = LoopExitPolicy::kNever,
            .check_descriptors = false};
  }

  void SetUp() override {
    group_.emplace(HubGroupOptions{.hubs = 2, .pin = false, .name = "handlers"});
    bridge_.emplace(*group_);
    service_.emplace(&*bridge_);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&*service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    stub_ = Demo::NewStub(grpc::CreateChannel(absl::StrCat("127.0.0.1:", port),
                                              grpc::InsecureChannelCredentials()));
    question_.set_text("why");
  }

  void TearDown() override {
    StopServer(*server_, absl::ZeroDuration());
    server_.reset();
    stub_.reset();
    if (group_) group_->Drain();
    service_.reset();
    bridge_.reset();
    group_.reset();
  }

  grpc::Status Ask(Deadline deadline = {}) {
    grpc::ClientContext context;
    return Call(*stub_, &Remote::Ask, &context, question_, &answer_, deadline);
  }

  std::optional<HubGroup> group_;
  std::optional<Bridge> bridge_;
  std::optional<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Demo::Stub> stub_;
  Question question_;
  Answer answer_;
};

GREENLET_TEST_F(BridgeTest, UnaryBlocksTheGreenletOnly) {
  Event go;
  service_->ask = [&](ServerCall&, const Question& q, Answer* a) {
    go.Wait();
    a->set_text(q.text() + " not");
    return grpc::Status::OK;
  };
  const Greenlet<grpc::Status> call = Spawn([&] { return Ask(); });
  EXPECT_FALSE(call.Join(Deadline::Passed()));
  go.Set();
  EXPECT_TRUE(call.Get()->ok());
  EXPECT_EQ(answer_.text(), "why not");
}

GREENLET_TEST_F(BridgeTest, ServerStreaming) {
  service_->repeat = [](ServerCall&, const Question& q, ServerWriter<Answer>& writer) {
    Answer answer;
    for (int i = 0; i < q.count(); ++i) {
      answer.set_count(i);
      if (!writer.Write(answer))
        return grpc::Status(StatusCode::ABORTED, "a write failed");
    }
    return grpc::Status::OK;
  };
  question_.set_count(1000);
  grpc::ClientContext context;
  ClientReader<Answer> reader(
      &context, [&](auto* r) { stub_->async()->Repeat(&context, &question_, r); });
  int n = 0;
  while (reader.Read(&answer_)) EXPECT_EQ(answer_.count(), n++);
  EXPECT_EQ(n, 1000);
  EXPECT_FALSE(reader.Read(&answer_));
  EXPECT_TRUE(reader.Finish().ok());
}

GREENLET_TEST_F(BridgeTest, ClientStreaming) {
  service_->count = [](ServerCall&, ServerReader<Question>& reader, Answer* answer) {
    int n = 0;
    for (Question q; reader.Read(&q); ++n) EXPECT_EQ(q.count(), n);
    answer->set_count(n);
    return grpc::Status::OK;
  };
  grpc::ClientContext context;
  ClientWriter<Question> writer(
      &context, [&](auto* r) { stub_->async()->Count(&context, &answer_, r); });
  for (int i = 0; i < 1000; ++i) {
    question_.set_count(i);
    ASSERT_TRUE(writer.Write(question_));
  }
  EXPECT_TRUE(writer.Finish().ok());
  EXPECT_EQ(answer_.count(), 1000);
}

GREENLET_TEST_F(BridgeTest, BothWaysByTurns) {
  service_->talk = [](ServerCall&, ServerStream<Question, Answer>& stream) {
    Question q;
    Answer a;
    while (stream.Read(&q)) {
      a.set_text(q.text());
      stream.Write(a);
    }
    return grpc::Status(StatusCode::ALREADY_EXISTS, "said it all");
  };
  grpc::ClientContext context;
  ClientStream<Question, Answer> talk(
      &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  for (int i = 0; i < 100; ++i) {
    question_.set_text(absl::StrCat(i));
    ASSERT_TRUE(talk.Write(question_));
    ASSERT_TRUE(talk.Read(&answer_));
    EXPECT_EQ(answer_.text(), absl::StrCat(i));
  }
  talk.WritesDone();
  EXPECT_FALSE(talk.Read(&answer_));
  const grpc::Status status = talk.Finish();
  EXPECT_EQ(status.error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(status.error_message(), "said it all");
}

GREENLET_TEST_F(BridgeTest, OneGreenletReadsWhileAnotherWrites) {
  service_->talk = [](ServerCall&, ServerStream<Question, Answer>& stream) {
    const Greenlet<> writer = Spawn([&] {
      Answer a;
      for (int i = 0; i < 500 && stream.Write(a); ++i) a.set_count(i);
    });
    int n = 0;
    for (Question q; stream.Read(&q);) ++n;
    writer.Join();
    return grpc::Status(n == 500 ? StatusCode::OK : StatusCode::DATA_LOSS, "");
  };
  grpc::ClientContext context;
  ClientStream<Question, Answer> talk(
      &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  const Greenlet<> writer = Spawn([&] {
    for (int i = 0; i < 500; ++i) EXPECT_TRUE(talk.Write(question_));
    talk.WritesDone();
  });
  int n = 0;
  while (talk.Read(&answer_)) ++n;
  writer.Join();
  EXPECT_EQ(n, 500);
  EXPECT_TRUE(talk.Finish().ok());
}

GREENLET_TEST_F(BridgeTest, FinishDropsWhatWasNotRead) {
  service_->repeat = [](ServerCall&, const Question&, ServerWriter<Answer>& writer) {
    for (int i = 0; i < 10; ++i) writer.Write(Answer());
    return grpc::Status(StatusCode::OUT_OF_RANGE, "");
  };
  grpc::ClientContext context;
  ClientReader<Answer> reader(
      &context, [&](auto* r) { stub_->async()->Repeat(&context, &question_, r); });
  EXPECT_EQ(reader.Finish().error_code(), StatusCode::OUT_OF_RANGE);
}

// --- errors ---

GREENLET_TEST_F(BridgeTest, AnEndStaysAnEnd) {
  service_->talk = [](ServerCall&, ServerStream<Question, Answer>& stream) {
    for (Question q; stream.Read(&q);) stream.Write(Answer());
    return grpc::Status::OK;
  };
  grpc::ClientContext context;
  ClientStream<Question, Answer> talk(
      &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  // The last message, and then once more that it was that.
  EXPECT_TRUE(talk.Write(question_, grpc::WriteOptions().set_last_message()));
  EXPECT_FALSE(talk.Write(question_));
  talk.WritesDone();
  while (talk.Read(&answer_)) continue;
  EXPECT_FALSE(talk.Read(&answer_));
  EXPECT_TRUE(talk.Finish().ok());
  EXPECT_TRUE(talk.Finish().ok());
  EXPECT_FALSE(talk.Read(&answer_));
  EXPECT_FALSE(talk.Write(question_));
}

GREENLET_TEST_F(BridgeTest, StatusesAreCarriedOver) {
  absl::Status wanted;
  service_->ask = [&](ServerCall&, const Question&, Answer*) { return ToGrpc(wanted); };
  for (int code = 1; code <= 16; ++code) {
    wanted =
        absl::Status(static_cast<absl::StatusCode>(code), absl::StrCat("error ", code));
    const grpc::Status status = Ask();
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(status.error_message(), absl::StrCat("error ", code));
  }
}

GREENLET_TEST_F(BridgeTest, AnExceptionIsInternalAndNotTold) {
  service_->ask = [](ServerCall&, const Question&, Answer*) -> grpc::Status {
    throw std::runtime_error("the password is 1234");
  };
  service_->talk = [](ServerCall&, ServerStream<Question, Answer>&) -> grpc::Status {
    throw 42;
  };
  const grpc::Status status = Ask();
  EXPECT_EQ(status.error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message(), "internal error");
  EXPECT_EQ(status.error_details(), "");

  grpc::ClientContext context;
  ClientStream<Question, Answer> talk(
      &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  EXPECT_EQ(talk.Finish().error_code(), StatusCode::INTERNAL);
}

// --- cancellation ---

GREENLET_TEST_F(BridgeTest, AKillOfTheClientKillsTheHandler) {
  Victim victim;
  service_->ask = [&](ServerCall&, const Question&, Answer*) -> grpc::Status {
    victim.WaitForEver();
  };
  const Greenlet<grpc::Status> call = Spawn([&] { return Ask(); });
  victim.began.Wait();
  call.Kill();
  EXPECT_TRUE(call.killed());
  victim.ended.Wait();
  EXPECT_TRUE(victim.killed);
}

GREENLET_TEST_F(BridgeTest, ACancelOfTheClientsKillsTheHandler) {
  Victim victim;
  service_->ask = [&](ServerCall&, const Question&, Answer*) -> grpc::Status {
    victim.WaitForEver();
  };
  grpc::ClientContext context;
  const Greenlet<grpc::Status> call =
      Spawn([&] { return Call(*stub_, &Remote::Ask, &context, question_, &answer_); });
  victim.began.Wait();
  context.TryCancel();
  EXPECT_EQ(call.Get()->error_code(), StatusCode::CANCELLED);
  victim.ended.Wait();
  EXPECT_TRUE(victim.killed);
}

GREENLET_TEST_F(BridgeTest, AStreamThatIsDroppedIsCancelled) {
  Victim victim;
  service_->talk = [&](ServerCall&, ServerStream<Question, Answer>&) -> grpc::Status {
    victim.WaitForEver();
  };
  {
    grpc::ClientContext context;
    ClientStream<Question, Answer> talk(
        &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
    victim.began.Wait();
  }
  victim.ended.Wait();
  EXPECT_TRUE(victim.killed);
}

GREENLET_TEST_F(BridgeTest, AKillInReadOrWriteEndsTheCall) {
  Victim victim;
  service_->talk = [&](ServerCall&, ServerStream<Question, Answer>&) -> grpc::Status {
    victim.WaitForEver();
  };
  grpc::ClientContext context;
  std::optional<ClientStream<Question, Answer>> talk;
  talk.emplace(&context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  // More than the windows hold: a write that waits.
  question_.set_text(std::string(4 << 20, 'x'));
  Event wrote;
  const Greenlet<> writer = Spawn([&] {
    wrote.Set();
    while (talk->Write(question_)) {
    }
  });
  const Greenlet<> reader = Spawn([&] { talk->Read(&answer_); });
  victim.began.Wait();
  wrote.Wait();
  reader.Kill();
  writer.Kill();
  victim.ended.Wait();
  EXPECT_EQ(talk->Finish().error_code(), StatusCode::CANCELLED);
}

GREENLET_TEST_F(BridgeTest, TheServersCancelReachesTheClient) {
  service_->talk = [](ServerCall& call, ServerStream<Question, Answer>& stream) {
    call.context().TryCancel();
    Question q;
    while (stream.Read(&q)) {
    }
    return grpc::Status::OK;
  };
  grpc::ClientContext context;
  ClientStream<Question, Answer> talk(
      &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  EXPECT_FALSE(talk.Read(&answer_));
  EXPECT_EQ(talk.Finish().error_code(), StatusCode::CANCELLED);
}

// --- deadlines ---

// With a deadline that leaves the handler time to begin, however slow the machine is.
void WithDeadlines(Victim& victim, const std::function<void(absl::Duration)>& call) {
  for (absl::Duration d = absl::Milliseconds(50); !victim.began.IsSet(); d *= 2) call(d);
}

GREENLET_TEST_F(BridgeTest, ADeadlineEndsBothSides) {
  Victim victim;
  service_->ask = [&](ServerCall&, const Question&, Answer*) -> grpc::Status {
    victim.WaitForEver();
  };
  WithDeadlines(victim, [&](absl::Duration d) {
    EXPECT_EQ(Ask(d).error_code(), StatusCode::DEADLINE_EXCEEDED);
  });
  victim.ended.Wait();
  EXPECT_TRUE(victim.killed || victim.timed_out);
}

GREENLET_TEST_F(BridgeTest, ADeadlineScopeOfTheClientEndsBothSides) {
  Victim victim;
  service_->ask = [&](ServerCall&, const Question&, Answer*) -> grpc::Status {
    victim.WaitForEver();
  };
  WithDeadlines(victim, [&](absl::Duration d) {
    const absl::StatusOr<grpc::Status> status = WithDeadline(d, [&] { return Ask(); });
    EXPECT_TRUE(absl::IsDeadlineExceeded(status.status()) ||
                status->error_code() == StatusCode::DEADLINE_EXCEEDED);
  });
  victim.ended.Wait();
  EXPECT_TRUE(victim.killed || victim.timed_out);
}

GREENLET_TEST_F(BridgeTest, TheHandlerHasTheClientsDeadlineAndSendsItOn) {
  absl::Duration left_in_ask, left_in_wait;
  service_->wait = [&](ServerCall&, const Question&, Answer*) {
    left_in_wait = RemainingTime();
    return grpc::Status::OK;
  };
  service_->ask = [&](ServerCall&, const Question& q, Answer* a) {
    left_in_ask = RemainingTime();
    grpc::ClientContext context;
    return Call(*stub_, &Remote::Wait, &context, q, a);
  };
  EXPECT_TRUE(Ask().ok());
  EXPECT_EQ(left_in_ask, absl::InfiniteDuration());
  EXPECT_EQ(left_in_wait, absl::InfiniteDuration());

  EXPECT_TRUE(Ask(absl::Hours(1)).ok());
  EXPECT_GT(left_in_ask, absl::ZeroDuration());
  // On its way gRPC rounds it up, by a percent at the most.
  EXPECT_LE(left_in_ask, absl::Minutes(61));
  EXPECT_GT(left_in_wait, absl::ZeroDuration());
  EXPECT_LE(left_in_wait, absl::Minutes(62));

  // However late.
  EXPECT_TRUE(Ask(absl::Hours(24 * 365 * 250)).ok());

  // The earliest counts, whoever said it.
  const auto soon = std::chrono::system_clock::now() + std::chrono::minutes(10);
  grpc::ClientContext context;
  context.set_deadline(soon);
  EXPECT_TRUE(
      Call(*stub_, &Remote::Ask, &context, question_, &answer_, absl::Hours(1)).ok());
  EXPECT_EQ(context.deadline(), soon);
}

GREENLET_TEST_F(BridgeTest, ATimeoutInReadLosesNothing) {
  Event timed_out;
  service_->talk = [&](ServerCall&, ServerStream<Question, Answer>& stream) {
    Question q;
    const absl::Status none =
        WithTimeout(absl::ZeroDuration(), [&] { return stream.Read(&q); }).status();
    EXPECT_TRUE(absl::IsDeadlineExceeded(none));
    timed_out.Set();
    EXPECT_TRUE(stream.Read(&q));
    EXPECT_EQ(q.text(), "why");
    // And one that nobody waits for when the call ends.
    WithTimeout(absl::ZeroDuration(), [&] { return stream.Read(&q); }).IgnoreError();
    return grpc::Status::OK;
  };
  grpc::ClientContext context;
  ClientStream<Question, Answer> talk(
      &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
  timed_out.Wait();
  EXPECT_TRUE(talk.Write(question_));
  EXPECT_FALSE(talk.Read(&answer_));
  EXPECT_TRUE(talk.Finish().ok());
}

// --- the end ---

GREENLET_TEST_F(BridgeTest, StopLetsCallsEnd) {
  Event began, go;
  service_->ask = [&](ServerCall&, const Question&, Answer* a) {
    began.Set();
    go.Wait();
    a->set_text("in time");
    return grpc::Status::OK;
  };
  service_->wait = [](ServerCall&, const Question&, Answer*) { return grpc::Status::OK; };
  const Greenlet<grpc::Status> call = Spawn([&] { return Ask(); });
  began.Wait();
  const Greenlet<> stop = Spawn([&] { StopServer(*server_, absl::InfiniteDuration()); });
  // It takes no new ones, from some moment on.
  for (;;) {
    grpc::ClientContext context;
    Answer answer;
    service_->wait = [](ServerCall&, const Question&, Answer*) {
      return grpc::Status::OK;
    };
    const grpc::Status s = Call(*stub_, &Remote::Wait, &context, question_, &answer);
    if (!s.ok()) {
      // CANCELLED: it was on its way just then.
      EXPECT_TRUE(s.error_code() == StatusCode::UNAVAILABLE ||
                  s.error_code() == StatusCode::CANCELLED)
          << s.error_code();
      break;
    }
    Yield();
  }
  EXPECT_FALSE(stop.ready());
  go.Set();
  EXPECT_TRUE(call.Get()->ok());
  EXPECT_EQ(answer_.text(), "in time");
  stop.Join();
}

GREENLET_TEST_F(BridgeTest, AStopWithoutGraceKillsHandlers) {
  Victim victim;
  service_->ask = [&](ServerCall&, const Question&, Answer*) -> grpc::Status {
    victim.WaitForEver();
  };
  const Greenlet<grpc::Status> call = Spawn([&] { return Ask(); });
  victim.began.Wait();
  StopServer(*server_, absl::ZeroDuration());
  EXPECT_TRUE(victim.killed);
  EXPECT_FALSE(call.Get()->ok());
}

// It is carried out nevertheless, though no thread of the pool is free for it.
GREENLET_TEST_F(BridgeTest, AStopThatIsKilledWhileItsPoolIsBusy) {
  service_->ask = [](ServerCall&, const Question&, Answer*) { return grpc::Status::OK; };
  EXPECT_TRUE(Ask().ok());
  std::atomic<bool> go{false};
  Group busy;
  for (int i = ThreadPool::Default().max_threads(); i > 0; --i) {
    busy.Spawn([&] { return Blocking([&] { go.wait(false); }); });
  }
  Yield();
  bool stopped = false;
  const Greenlet<> stop = Spawn([&] {
    StopServer(*server_, absl::ZeroDuration());
    stopped = true;
    Yield();
    ADD_FAILURE() << "the kill is lost";
  });
  Yield();
  stop.KillSoon();
  Yield();
  go = true;
  go.notify_all();
  stop.Join();
  EXPECT_TRUE(stopped);
  EXPECT_TRUE(stop.killed());
  EXPECT_FALSE(Ask().ok());
  busy.Join();
}

GREENLET_TEST_F(BridgeTest, ACallMayBeTheLastThingOfAHub) {
  service_->ask = [](ServerCall&, const Question&, Answer*) { return grpc::Status::OK; };
  const KeepAlive alive(Hub::Current());  // the group ends by a thread
  for (int i = 0; i < 50; ++i) {
    HubGroup group({.hubs = 1, .pin = false}, [&](int) {
      Answer answer;
      grpc::ClientContext context;
      EXPECT_TRUE(Call(*stub_, &Remote::Ask, &context, question_, &answer).ok());
    });
    group.Join();
  }
}

GREENLET_TEST_F(BridgeTest, HubsThatEndAnswerUnavailable) {
  Victim victim;
  service_->ask = [&](ServerCall&, const Question&, Answer*) -> grpc::Status {
    victim.WaitForEver();
  };
  const Greenlet<grpc::Status> call = Spawn([&] { return Ask(); });
  victim.began.Wait();
  group_->Drain(absl::ZeroDuration());
  EXPECT_EQ(call.Get()->error_code(), StatusCode::UNAVAILABLE);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask().error_code(), StatusCode::UNAVAILABLE);
}

// Calls of all kinds, killed and cancelled at any moment: before they begin, when they
// are about to end, and in between. In the end nothing is left, which the fixture sees
// to.
GREENLET_TEST_F(BridgeTest, KillsAtAnyMoment) {
  service_->ask = [](ServerCall&, const Question&, Answer*) {
    for (int i = 0; i < 3; ++i) Yield();
    return grpc::Status::OK;
  };
  service_->talk = [](ServerCall&, ServerStream<Question, Answer>& stream) {
    Answer a;
    for (Question q; stream.Read(&q);) stream.Write(a);
    return grpc::Status::OK;
  };
  std::minstd_rand random(7);
  Group calls;
  for (int round = 0; round < 200; ++round) {
    std::vector<Greenlet<>> victims;
    for (int i = 0; i < 5; ++i) {
      victims.push_back(calls.Spawn([this] {
        Answer answer;
        grpc::ClientContext context;
        Call(*stub_, &Remote::Ask, &context, question_, &answer);
      }));
      victims.push_back(calls.Spawn([this] {
        Answer answer;
        grpc::ClientContext context;
        ClientStream<Question, Answer> talk(
            &context, [&](auto* r) { stub_->async()->Talk(&context, r); });
        for (int k = 0; k < 3; ++k) {
          if (!talk.Write(question_) || !talk.Read(&answer)) break;
        }
        talk.Finish();
      }));
    }
    for (const Greenlet<>& v : victims) {
      const unsigned how = random() % 4;
      if (how == 0) continue;
      for (unsigned k = random() % 20; k > 0; --k) Yield();
      if (how == 1) Sleep(absl::Microseconds(random() % 300));
      v.KillSoon();
    }
  }
  calls.Join();
}

}  // namespace
}  // namespace grove::bridge
