#ifndef GROVE_NET_HTTP_INTERNAL_HTTP2_STREAM_H_
#define GROVE_NET_HTTP_INTERNAL_HTTP2_STREAM_H_

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/hub/clock.h"
#include "grove/net/http/headers.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/net/internal/peer_pace.h"

namespace grove::http::http_internal {

class Http2Connection;
class Http2Stream;

// Empties it; what was larger than usual does not keep its memory.
void DropText(std::string& text);

// The header fields of a request, or the trailers behind it, as nghttp2 decodes them:
// views into its own buffers, which are held by their counts.
class Http2Fields {
 public:
  Http2Fields() = default;
  Http2Fields(const Http2Fields&) = delete;
  Http2Fields& operator=(const Http2Fields&) = delete;
  ~Http2Fields() { Clear(); }

  void Clear();
  // The text, which stays until Clear().
  absl::string_view Hold(nghttp2_rcbuf* buffer);
  void Add(Field field) { fields_.push_back(field); }
  // A client may send each cookie in a field of its own; handlers get one (RFC 9113,
  // 8.2.3).
  void JoinCookies();

  // As SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113, 6.5.2).
  size_t size() const { return size_; }
  absl::Span<const Field> fields() const { return fields_; }

 private:
  std::vector<nghttp2_rcbuf*> held_;
  std::vector<Field> fields_;
  std::string cookies_;
  size_t size_ = 0;
};

// The body of a stream's request. What has come and was not read is within the window
// that the client was given.
class Http2Body final : public RequestBody {
 public:
  explicit Http2Body(Http2Stream* stream) : stream_(*stream) {}

  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override;
  std::optional<uint64_t> length() const override { return length_; }
  HeaderView trailers() const override;

  void Begin(std::optional<uint64_t> length, bool awaited);
  // From the client.
  void Take(absl::string_view data);
  void End();
  // Reads fail with this from now on; `status` is what to answer if nothing else is.
  void Fail(int status, absl::Status failure);

  int failed_with() const { return failed_with_; }
  const absl::Status& failure() const { return failure_; }
  bool reader_waits() const { return reader_waits_; }
  uint64_t received() const { return received_; }
  size_t unread() const { return in_.size() - in_begin_; }

 private:
  friend class Http2Stream;

  absl::Status AskForIt();

  Http2Stream& stream_;
  std::optional<uint64_t> length_;
  bool awaited_ = false;
  bool ended_ = false;
  bool reader_waits_ = false;
  int failed_with_ = 0;
  absl::Status failure_;
  uint64_t received_ = 0;
  std::string in_;
  size_t in_begin_ = 0;
  green_internal::WaiterList readers_;
};

// The response. nghttp2 asks for its body when the client's windows have room.
class Http2Response final : public ResponseWriter {
 public:
  explicit Http2Response(Http2Stream* stream) : stream_(*stream) {}

  void Begin(bool is_head);
  void Spoil() override;

  // Of the body, what waits to be sent.
  size_t pending() const { return out_.size() - out_begin_ + borrowed_.size(); }
  // It is for the client to take it, not for the handler to say that it may go.
  bool blocked() const { return !deferred_ && !reset_ && (pending() > 0 || ended_); }
  bool reset() const { return reset_; }
  uint64_t sent() const { return sent_; }
  // For nghttp2: how much of a frame of at most `max` there is, and what it ends; and
  // that much of it, behind `to`.
  ssize_t Offer(size_t max, uint32_t* flags);
  void MoveTo(std::string& to, size_t count);
  // Nobody takes it any more.
  void Drop();
  bool lost() const { return lost_; }
  // Its handler has returned.
  void End();
  // The client has gone, or the server comes to its end.
  void WakeWatchers();

 private:
  absl::Status SendWhole(absl::string_view body, std::optional<uint64_t> length,
                         bool with_body) override;
  absl::Status SendWholeFile(int fd, uint64_t offset, uint64_t count) override;
  absl::Status BeginBody(std::optional<uint64_t> length, bool with_body) override;
  absl::Status SendPiece(absl::string_view data) override;
  absl::Status EndBody() override;
  absl::Status FlushPieces() override;
  absl::Status DoWaitForDisconnect(Deadline deadline) override;

  absl::Status SendHead(std::optional<uint64_t> length, bool with_body);
  absl::Status SendBorrowed(absl::string_view data);
  void Resume();
  absl::Status WaitUntilSent();

  Http2Stream& stream_;
  std::string head_;  // what the fields of the response refer to
  std::vector<nghttp2_nv> fields_;
  std::string out_;
  size_t out_begin_ = 0;
  absl::string_view borrowed_;  // behind out_: the caller's, who waits
  bool ended_ = false;
  bool deferred_ = false;
  bool reset_ = false;
  bool lost_ = false;  // the client has not taken all of it
  uint64_t sent_ = 0;
  green_internal::WaiterList writers_;
  green_internal::WaiterList watchers_;
};

// Http2Stream
//
// One request and its response: from the client's HEADERS until the handler has returned
// and nghttp2 has closed the stream, in whichever order.
class Http2Stream {
 public:
  Http2Stream() : body(this), response(this) {}
  Http2Stream(const Http2Stream&) = delete;
  Http2Stream& operator=(const Http2Stream&) = delete;

  void Begin(Http2Connection* its_connection, int32_t its_id);
  // For another request.
  void Clear();

  // A field of the request's head. Too many of them are forgotten, and refused later;
  // false if they are so many that nobody means well.
  bool TakeHeader(nghttp2_rcbuf* name, nghttp2_rcbuf* value);
  // False if there are too many.
  bool TakeTrailer(nghttp2_rcbuf* name, nghttp2_rcbuf* value);
  // The head is complete: makes the request, or sets refused().
  void FinishHead(bool has_body);

  // What to answer in place of the handler; 0: the handler is to be called.
  int refused() const { return refused_; }
  absl::string_view reason() const { return reason_; }
  // Answers with it.
  void Refuse(int status, absl::string_view reason);

  // nghttp2 knows the stream no more.
  void Close(uint32_t error_code);
  bool closed() const { return closed_; }
  absl::Status ClosedError(absl::string_view what) const;

  Http2Connection* connection = nullptr;
  int32_t id = 0;
  Request request;
  Http2Body body;
  Http2Response response;
  Greenlet<> handler;
  bool handler_runs = false;
  bool in_head = true;
  net::net_internal::PeerPace pace;
  absl::Time begin;
  MonotonicNanos begun = 0;
  Http2Stream* previous = nullptr;
  Http2Stream* next = nullptr;

 private:
  friend class Http2Body;

  void RefuseLater(int status, const char* reason);
  void TakePseudo(absl::string_view name, absl::string_view value);

  Http2Fields head_;
  Http2Fields trailers_;
  absl::string_view method_;
  absl::string_view path_;
  absl::string_view authority_;
  size_t seen_ = 0;  // of the head, with what was forgotten
  int refused_ = 0;
  const char* reason_ = "";
  bool closed_ = false;
  uint32_t error_code_ = 0;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_HTTP2_STREAM_H_
