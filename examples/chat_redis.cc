#include "grove/examples/chat_redis.h"

#include <stdio.h>

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/net/buffered_stream.h"
#include "grove/net/dial.h"

namespace grove::examples {
namespace {

constexpr absl::string_view kPrefix = "chat:";
constexpr absl::Duration kPatience = absl::Seconds(5);
constexpr size_t kMaxBulk = 64 << 10;

std::string Command(const std::vector<absl::string_view>& words) {
  std::string command = absl::StrCat("*", words.size(), "\r\n");
  for (absl::string_view word : words) {
    absl::StrAppend(&command, "$", word.size(), "\r\n", word, "\r\n");
  }
  return command;
}

absl::Status NoReply(absl::string_view what) {
  return absl::InternalError(absl::StrCat("redis: an unexpected reply: ", what));
}

// "*4" -> 4, if it is of that kind.
absl::StatusOr<size_t> ReadCount(net::StreamReader& reader, char kind) {
  const auto line = reader.ReadLine(512);
  if (!line.ok()) return line.status();
  if (!line->has_value()) return absl::UnavailableError("redis: the connection ended");
  absl::string_view text = **line;
  uint64_t n;
  if (text.empty() || text[0] != kind || !absl::SimpleAtoi(text.substr(1), &n) ||
      n > kMaxBulk) {
    return NoReply(text);
  }
  return static_cast<size_t>(n);
}

// An array of strings; integers count as strings.
absl::StatusOr<std::vector<std::string>> ReadArray(net::StreamReader& reader) {
  const absl::StatusOr<size_t> count = ReadCount(reader, '*');
  if (!count.ok()) return count.status();
  std::vector<std::string> words;
  for (size_t i = 0; i < *count; ++i) {
    const absl::StatusOr<absl::string_view> kind = reader.Peek(1);
    if (!kind.ok()) return kind.status();
    if (kind->front() == ':') {
      const absl::StatusOr<size_t> n = ReadCount(reader, ':');
      if (!n.ok()) return n.status();
      words.push_back(absl::StrCat(*n));
      continue;
    }
    const absl::StatusOr<size_t> size = ReadCount(reader, '$');
    if (!size.ok()) return size.status();
    std::string word(*size + 2, '\0');
    if (absl::Status s = reader.ReadExactly(absl::MakeSpan(word)); !s.ok()) return s;
    word.resize(*size);
    words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

ChatRedis::ChatRedis(std::string address, Deliver deliver)
    : address_(std::move(address)), deliver_(std::move(deliver)) {
  subscriber_ = Spawn({.name = "redis subscriber"}, [this] { SubscribeForEver(); });
}

ChatRedis::~ChatRedis() {
  const Shield shield;
  subscriber_.Kill();
}

void ChatRedis::SubscribeForEver() {
  for (;;) {
    const absl::Status status = Subscribe();
    fprintf(stderr, "websocket_chat: %s\n", status.ToString().c_str());
    Sleep(absl::Seconds(1));
  }
}

absl::Status ChatRedis::Subscribe() {
  absl::StatusOr<std::unique_ptr<net::Stream>> stream =
      net::DialAny(address_, {.deadline = kPatience});
  if (!stream.ok()) return stream.status();
  const std::string pattern = absl::StrCat(kPrefix, "*");
  if (absl::Status s = (*stream)->Write(Command({"PSUBSCRIBE", pattern})); !s.ok()) {
    return s;
  }
  net::StreamReader reader(**stream, 2 * kMaxBulk);
  bool asked = false;
  for (;;) {
    // A server whose machine has gone says nothing, for ever: so it is asked now and
    // then.
    if (reader.buffered().empty()) {
      const absl::Status s = (*stream)->WaitReadable(kPatience);
      if (absl::IsDeadlineExceeded(s) && !asked) {
        asked = true;
        if (absl::Status w = (*stream)->Write(Command({"PING"}), kPatience); !w.ok()) {
          return w;
        }
        continue;
      }
      if (!s.ok()) return s;
    }
    asked = false;
    (*stream)->set_timeout(kPatience);  // for what has begun
    const absl::StatusOr<std::vector<std::string>> words = ReadArray(reader);
    if (!words.ok()) return words.status();
    if (words->size() == 2 && words->front() == "pong") continue;
    if (words->size() == 3 && words->front() == "psubscribe") {
      subscribed_.Set();
    } else if (words->size() == 4 && words->front() == "pmessage") {
      absl::string_view room = (*words)[2];
      if (absl::ConsumePrefix(&room, kPrefix)) deliver_(room, (*words)[3]);
    } else {
      return NoReply(words->empty() ? "an empty array" : words->front());
    }
  }
}

bool ChatRedis::Publish(absl::string_view room, absl::string_view line) {
  const Deadline deadline(kPatience);  // for those before it, too
  if (!publisher_.try_lock_until(deadline)) return false;
  const std::lock_guard holds(publisher_, std::adopt_lock);
  // A connection that stood may have been closed meanwhile: once more with a new one.
  for (int attempt = 0; attempt < 2; ++attempt) {
    // Whoever fails, or is killed, leaves none that is out of step.
    std::unique_ptr<net::Stream> stream = std::move(publishing_);
    const bool fresh = stream == nullptr;
    if (fresh) {
      absl::StatusOr<std::unique_ptr<net::Stream>> dialed =
          net::DialAny(address_, {.deadline = deadline});
      if (!dialed.ok()) return false;
      stream = *std::move(dialed);
    }
    const std::string channel = absl::StrCat(kPrefix, room);
    if (stream->Write(Command({"PUBLISH", channel, line}), deadline).ok()) {
      // ":<how many got it>"
      std::string rest;
      const absl::StatusOr<std::string> reply =
          stream->ReadUntil("\r\n", rest, 512, deadline);
      if (reply.ok() && reply->front() == ':' && rest.empty()) {
        publishing_ = std::move(stream);
        return true;
      }
    }
    if (fresh) return false;
  }
  return false;
}

}  // namespace grove::examples
