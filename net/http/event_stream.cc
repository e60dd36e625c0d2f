#include "grove/net/http/event_stream.h"

#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/task_group.h"

namespace grove::http {
namespace {

bool IsOneLine(absl::string_view text) { return text.find_first_of("\r\n") == text.npos; }

// Each line of `text`, behind `prefix`: at least one.
void AppendLines(absl::string_view prefix, absl::string_view text, std::string* out) {
  for (;;) {
    const size_t end = text.find_first_of("\r\n");
    absl::StrAppend(out, prefix, text.substr(0, end), "\n");
    if (end == text.npos) return;
    const bool both = text.substr(end, 2) == "\r\n";
    text.remove_prefix(end + (both ? 2 : 1));
  }
}

}  // namespace

EventStream::EventStream(const Request& request, ResponseWriter& response)
    : response_(response), last_event_id_(request.headers().Get("Last-Event-ID")) {
  HeaderMap& headers = response.headers();
  headers.Set("Content-Type", "text/event-stream");
  if (!headers.Get("Cache-Control")) headers.Set("Cache-Control", "no-store");
  if (!headers.Get("X-Accel-Buffering")) headers.Set("X-Accel-Buffering", "no");
}

absl::Status EventStream::Send(const ServerSentEvent& event) {
  if (!IsOneLine(event.type)) {
    return absl::InvalidArgumentError("an event's type that is not one line");
  }
  std::string text;
  if (!event.type.empty()) absl::StrAppend(&text, "event: ", event.type, "\n");
  if (event.id.has_value()) {
    if (!IsOneLine(*event.id) || event.id->find('\0') != event.id->npos) {
      return absl::InvalidArgumentError(
          "an event's id that is not one line, or has a zero byte");
    }
    absl::StrAppend(&text, "id: ", *event.id, "\n");
  }
  if (event.retry.has_value()) {
    if (*event.retry < absl::ZeroDuration() || *event.retry > absl::Hours(24 * 365)) {
      return absl::InvalidArgumentError("an event's retry that is no time to wait");
    }
    absl::StrAppend(&text, "retry: ", absl::ToInt64Milliseconds(*event.retry), "\n");
  }
  AppendLines("data: ", event.data, &text);
  text.push_back('\n');
  return SendText(text);
}

absl::Status EventStream::Comment(absl::string_view text) {
  std::string lines;
  AppendLines(": ", text, &lines);
  lines.push_back('\n');
  return SendText(lines);
}

absl::Status EventStream::SendText(absl::string_view text) {
  const std::lock_guard lock(mutex_);
  if (absl::Status s = response_.Write(text); !s.ok()) return s;
  ++sent_;
  return response_.Flush();
}

absl::Status ServeEvents(const Request& request, ResponseWriter& response,
                         std::function<void(EventStream&)> source,
                         EventStreamOptions options) {
  EventStream events(request, response);
  // For two greenlets.
  const auto no_stack = [] {
    return absl::ResourceExhaustedError("events: no stack for one stream of them more");
  };
  if (!CanSpawn()) {
    response.Send(503, "text/plain", "Service Unavailable\n").IgnoreError();
    return no_stack();
  }
  if (absl::Status s = response.Flush(); !s.ok() || request.is_head()) return s;
  if (!CanSpawn()) return no_stack();  // others may have taken it meanwhile
  absl::Status end;                    // OK: the source has ended first
  TaskGroup group({.name = "event stream"});
  group.Spawn({.name = "events"}, [&] {
    source(events);
    group.Cancel();
  });
  group.Spawn({.name = "end of events"}, [&] {
    absl::Status s = response.WaitForDisconnect();
    if (absl::IsUnimplemented(s)) return;  // it is told by a keepalive that fails
    end = std::move(s);
    group.Cancel();
  });
  uint64_t seen = events.sent();
  for (;;) {
    absl::Status joined = group.Join(options.keepalive);
    if (!absl::IsDeadlineExceeded(joined) || group.running() == 0) break;
    if (seen != events.sent()) {
      seen = events.sent();
      continue;
    }
    if (absl::Status s = events.Comment(""); !s.ok()) {
      end = std::move(s);
      group.Cancel();
    }
    seen = events.sent();
  }
  return end;
}

}  // namespace grove::http
