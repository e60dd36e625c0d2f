#include "grove/examples/grpc/demo_service.h"

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/green/sleep.h"
#include "grove/net/buffered_stream.h"
#include "grove/net/dial.h"
#include "grove/net/stream.h"

namespace grove::examples {
namespace {

using bridge::ServerCall;

// Blocks: until the backend has answered. The call's deadline and its cancellation end
// the wait, and close the connection.
absl::StatusOr<std::string> AskBackend(const std::string& backend,
                                       absl::string_view text) {
  absl::StatusOr<std::unique_ptr<net::Stream>> stream = net::DialAny(backend);
  if (!stream.ok()) return stream.status();
  if (absl::Status s = (*stream)->Write(absl::StrCat(text, "\n")); !s.ok()) return s;
  net::StreamReader reader(**stream);
  const absl::StatusOr<std::optional<absl::string_view>> line = reader.ReadLine(8192);
  if (!line.ok()) return line.status();
  if (!line->has_value()) return absl::UnavailableError("the backend did not answer");
  return std::string(**line);
}

grpc::Status HandleAsk(const std::string& backend, const Question& question,
                       Answer* answer) {
  if (question.text().find('\n') != std::string::npos) {
    return {grpc::StatusCode::INVALID_ARGUMENT, "a question has one line"};
  }
  const absl::StatusOr<std::string> text = AskBackend(backend, question.text());
  // Where the backend is concerns no client.
  if (!text.ok()) return {grpc::StatusCode::UNAVAILABLE, "the backend has failed"};
  answer->set_text(*text);
  return grpc::Status::OK;
}

grpc::Status HandleWait(ServerCall&, const Question& question, Answer* answer) {
  if (question.wait_ms() < 0) {
    return bridge::ToGrpc(absl::InvalidArgumentError("a wait is not negative"));
  }
  if (question.wait_ms() > 0) Sleep(absl::Milliseconds(question.wait_ms()));
  answer->set_text(question.text());
  return grpc::Status::OK;
}

grpc::Status HandleRepeat(ServerCall&, const Question& question,
                          bridge::ServerWriter<Answer>& writer) {
  Answer answer;
  answer.set_text(question.text());
  for (int i = 0; i < question.count(); ++i) {
    if (i > 0 && question.wait_ms() > 0) Sleep(absl::Milliseconds(question.wait_ms()));
    answer.set_count(i);
    if (!writer.Write(answer)) break;
  }
  return grpc::Status::OK;
}

grpc::Status HandleCount(ServerCall&, bridge::ServerReader<Question>& reader,
                         Answer* answer) {
  int count = 0;
  Question question;
  while (reader.Read(&question)) {
    ++count;
    answer->set_text(question.text());
  }
  answer->set_count(count);
  return grpc::Status::OK;
}

grpc::Status HandleTalk(ServerCall&, bridge::ServerStream<Question, Answer>& stream) {
  Question question;
  Answer answer;
  for (int i = 0; stream.Read(&question); ++i) {
    answer.set_text(question.text());
    answer.set_count(i);
    if (!stream.Write(answer)) break;
  }
  return grpc::Status::OK;
}

}  // namespace

grpc::ServerUnaryReactor* DemoService::Ask(grpc::CallbackServerContext* context,
                                           const Question* question, Answer* answer) {
  return bridge_->Unary(context, question, answer,
                        [this](ServerCall&, const Question& q, Answer* a) {
                          return HandleAsk(backend_, q, a);
                        });
}

grpc::ServerUnaryReactor* DemoService::Wait(grpc::CallbackServerContext* context,
                                            const Question* question, Answer* answer) {
  return bridge_->Unary(context, question, answer, &HandleWait);
}

grpc::ServerWriteReactor<Answer>* DemoService::Repeat(
    grpc::CallbackServerContext* context, const Question* question) {
  return bridge_->ServerStreaming<Answer>(context, question, &HandleRepeat);
}

grpc::ServerReadReactor<Question>* DemoService::Count(
    grpc::CallbackServerContext* context, Answer* answer) {
  return bridge_->ClientStreaming<Question>(context, answer, &HandleCount);
}

grpc::ServerBidiReactor<Question, Answer>* DemoService::Talk(
    grpc::CallbackServerContext* context) {
  return bridge_->Bidi<Question, Answer>(context, &HandleTalk);
}

}  // namespace grove::examples
