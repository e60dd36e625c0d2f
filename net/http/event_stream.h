#ifndef GROVE_NET_HTTP_EVENT_STREAM_H_
#define GROVE_NET_HTTP_EVENT_STREAM_H_

#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/sync/mutex.h"

// Server-sent events (WHATWG HTML, 9.2): a response that does not end, of small texts,
// which browsers read by EventSource and connect to again when it breaks.
namespace grove::http {

// ServerSentEvent
//
// One of them. The client decodes all of it as UTF-8.
struct ServerSentEvent {
  // What it says; it may have many lines, which end with LF, CR or both. An empty one is
  // an event too.
  absl::string_view data = {};
  // Its name, "message" if empty. One line.
  absl::string_view type = {};
  // What the client says in Last-Event-ID when it connects again; one line, without a
  // zero byte. Empty: forgets it.
  std::optional<absl::string_view> id = {};
  // How long it waits before it does so, in milliseconds.
  std::optional<absl::Duration> retry = {};
};

// EventStreamOptions
struct EventStreamOptions {
  // A comment is sent where nothing else was for so long: proxies do not take the
  // connection for dead, and the server finds out if the client's machine has vanished.
  // Less than HttpServerOptions::stall_timeout. Infinite: none.
  absl::Duration keepalive = absl::Seconds(15);
};

// EventStream
//
// The response as events. Made by ServeEvents(), or by a handler that has something to
// send all the time: by itself it notices that the client has gone only when a Send()
// fails.
//
// Sets Content-Type, and unless the handler has, "Cache-Control: no-store" and
// "X-Accel-Buffering: no", which tells nginx not to collect them.
//
// For all that send:
//   Blocks: while the client does not read, and while another greenlet sends.
//   Deadline: the server's limits; a Timeout or DeadlineScope of the caller's.
//   Kill: throws; the connection is cut if part of an event has gone out.
//   Threads: the hub that serves the connection; greenlets may send at the same time.
// Errors: as ResponseWriter; kInvalidArgument for an event that is none, of which nothing
// is sent: a line's end in its type or id never makes it another event.
class EventStream {
 public:
  EventStream(const Request& request, ResponseWriter& response);
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // EventStream::Send()
  //
  // Sends it at once.
  absl::Status Send(const ServerSentEvent& event);

  // EventStream::Comment()
  //
  // What clients read over. May have many lines.
  absl::Status Comment(absl::string_view text);

  // The last event that the client has seen, if it connects again. It is the client's
  // word: anything may be in it.
  std::optional<absl::string_view> last_event_id() const { return last_event_id_; }
  // How many events and comments were sent.
  uint64_t sent() const { return sent_; }

 private:
  absl::Status SendText(absl::string_view text);

  ResponseWriter& response_;
  std::optional<absl::string_view> last_event_id_;
  Mutex mutex_;
  uint64_t sent_ = 0;
};

// ServeEvents()
//
// The body of a handler: calls `source` in a greenlet of its own, which sends events for
// as long as it likes, and kills it when the client goes away or the server drains, also
// while it waits for something to send. Then the response ends.
//
//   router.Handle("GET", "/events", [](Request& request, ResponseWriter& response) {
//     ServeEvents(request, response, [&](EventStream& events) {
//       Subscription news = Subscribe(events.last_event_id().value_or(""));
//       for (;;) {
//         const News n = news.Next();  // a kill comes here
//         if (!events.Send({.data = n.text, .id = n.id}).ok()) return;
//       }
//     }).IgnoreError();
//   });
//
// Returns OK if `source` has returned, kUnavailable if the client has gone, kCancelled if
// the server drains, else the error of the response. Of HEAD only the head is sent, and
// `source` is not called. While it lasts it has two greenlets beside the connection's.
//
// Blocks: until then.
// Kill: throws; `source` has ended.
// Threads: the hub that serves the connection.
// Exceptions of `source`: thrown as a TaskGroupError; the server cuts the connection.
absl::Status ServeEvents(const Request& request, ResponseWriter& response,
                         std::function<void(EventStream&)> source,
                         EventStreamOptions options = {});

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_EVENT_STREAM_H_
