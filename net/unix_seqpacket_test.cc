#include "grove/net/unix_seqpacket.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/socket_options.h"
#include "grove/net/unix.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

class SeqPacket : public GreenletTest {
 protected:
  void SetUp() override {
    auto pair = *UnixSeqPacket::Pair();
    a_ = std::move(pair.first);
    b_ = std::move(pair.second);
  }
  void TearDown() override {
    a_.Close();
    b_.Close();
  }

  std::string Text(const UnixMessage& m) const { return std::string(buffer_, m.bytes); }
  static UnixAddress Name(absl::string_view name) {
    return *UnixAddress::Parse(absl::StrCat("@grove-seq-", name, "-", getpid()));
  }

  UnixSeqPacket a_, b_;
  char buffer_[4096];
};

GREENLET_TEST_F(SeqPacket, AConnectionKeepsTheBoundsOfMessages) {
  UnixSeqPacketListener listener = *UnixSeqPacketListener::Listen(Name("bounds"));
  const Greenlet<> server = Spawn([&] {
    UnixSeqPacket s = *listener.Accept();
    char buffer[100];
    for (;;) {
      const UnixMessage m = *s.Receive(absl::MakeSpan(buffer));
      if (m.bytes == 0) return;
      ASSERT_TRUE(s.Send({buffer, m.bytes}).ok());
    }
  });
  UnixSeqPacket client = *UnixSeqPacket::Connect(Name("bounds"));
  EXPECT_EQ(client.peer(), Name("bounds"));
  EXPECT_EQ(client.peer_credentials()->pid, getpid());
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(client.Send(text).ok());
  for (const char* text : {"one", "two", "three"}) {
    EXPECT_EQ(Text(*client.Receive(absl::MakeSpan(buffer_))), text);
  }
  ASSERT_TRUE(client.ShutdownWrite().ok());
  server.Join();
  EXPECT_EQ(client.Receive(absl::MakeSpan(buffer_))->bytes, 0u) << "the end";
}

GREENLET_TEST_F(SeqPacket, SaysWhatWasCutOff) {
  ASSERT_TRUE(a_.Send("too long").ok());
  ASSERT_TRUE(a_.Send("ok").ok());
  const UnixMessage m = *b_.Receive(absl::MakeSpan(buffer_, 3));
  EXPECT_EQ(Text(m), "too");
  EXPECT_TRUE(m.truncated);
  EXPECT_EQ(Text(*b_.Receive(absl::MakeSpan(buffer_))), "ok");
}

GREENLET_TEST_F(SeqPacket, AnEmptyMessageIsRefused) {
  EXPECT_EQ(a_.Send("").code(), absl::StatusCode::kInvalidArgument);
}

GREENLET_TEST_F(SeqPacket, SendingWaitsWhileThePeerDoesNotRead) {
  const std::string chunk(4096, 'x');
  int sent = 0;
  absl::Status s;
  while ((s = a_.Send(chunk, absl::Seconds(1))).ok()) ++sent;
  EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(s.message()), HasSubstr("send to unix:"));
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  const Greenlet<absl::Status> sender = Spawn([&] { return a_.Send("last"); });
  Yield();
  EXPECT_FALSE(sender.ready());
  for (int i = 0; i < sent; ++i) {
    EXPECT_EQ(b_.Receive(absl::MakeSpan(buffer_))->bytes, chunk.size());
  }
  EXPECT_EQ(Text(*b_.Receive(absl::MakeSpan(buffer_))), "last");
  EXPECT_TRUE(sender.Get().ok());
}

GREENLET_TEST_F(SeqPacket, ReceivingEndsWithItsDeadlineAKillAndAClose) {
  EXPECT_EQ(a_.Receive(absl::MakeSpan(buffer_), absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  const Greenlet<> killed =
      Spawn([&] { a_.Receive(absl::MakeSpan(buffer_)).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  ASSERT_TRUE(b_.Send("kept").ok());
  EXPECT_EQ(Text(*a_.Receive(absl::MakeSpan(buffer_))), "kept");
  const Greenlet<absl::Status> closed =
      Spawn([&] { return a_.Receive(absl::MakeSpan(buffer_)).status(); });
  Yield();
  a_.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(a_.Send("x").code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(SeqPacket, APeerThatIsGoneIsAnErrorAndNoSignal) {
  ASSERT_TRUE(a_.Send("unread").ok());
  b_.Close();
  const absl::Status reset = a_.Receive(absl::MakeSpan(buffer_)).status();
  EXPECT_EQ(ErrnoOf(reset), ECONNRESET) << "it has not read all";
  EXPECT_EQ(a_.Receive(absl::MakeSpan(buffer_))->bytes, 0u);
  EXPECT_EQ(ErrnoOf(a_.Send("x")), EPIPE);
}

GREENLET_TEST_F(SeqPacket, AMessageThatIsTooLargeIsAnError) {
  ASSERT_TRUE(SetOption(a_, SendBuffer{8192}).ok());
  const absl::Status s = a_.Send(std::string(64 << 10, 'x'));
  EXPECT_EQ(ErrnoOf(s), EMSGSIZE);
  EXPECT_THAT(std::string(s.message()), HasSubstr("send to unix:"));
  EXPECT_TRUE(a_.Send("small").ok());
}

GREENLET_TEST_F(SeqPacket, DescriptorsAndSendersTravelWithMessages) {
  ASSERT_TRUE(SetOption(b_, PassCredentials{true}).ok());
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(a_.SendDescriptors("x", pipe_fds).ok());
  const UnixMessage m = *b_.ReceiveDescriptors(absl::MakeSpan(buffer_), 2);
  EXPECT_EQ(m.fds.size(), 2u);
  EXPECT_EQ(m.sender->pid, getpid());
  for (int fd : m.fds) close(fd);
  EXPECT_EQ(b_.ReceiveDescriptors(absl::MakeSpan(buffer_), 1).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(b_.Receive(absl::MakeSpan(buffer_))->fds.empty());
  for (int fd : pipe_fds) close(fd);
}

GREENLET_TEST_F(SeqPacket, AListenerEndsAsOthersDo) {
  char name[] = "/tmp/grove-seq-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const std::string path = absl::StrCat(name, "/s");
  UnixSeqPacketListener listener =
      *UnixSeqPacketListener::Listen(*UnixAddress::Parse(path));
  EXPECT_EQ(listener.Accept(absl::Seconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ErrnoOf(listener.TryAccept().status()), EAGAIN);
  const Greenlet<absl::Status> waiting =
      Spawn([&] { return listener.Accept().status(); });
  Yield();
  // A stream cannot connect to it.
  EXPECT_EQ(ErrnoOf(UnixStream::Connect(listener.address()).status()), EPROTOTYPE);
  listener.Close();
  EXPECT_EQ(waiting.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(rmdir(name), 0) << "the file is left";
}

GREENLET_TEST_F(SeqPacket, AFullBacklogIsWaitedForUntilTheDeadline) {
  UnixSeqPacketListener listener =
      *UnixSeqPacketListener::Listen(Name("backlog"), {.backlog = 0});
  std::vector<UnixSeqPacket> connected;
  absl::Status last;
  while (last.ok()) {
    absl::StatusOr<UnixSeqPacket> s =
        UnixSeqPacket::Connect(Name("backlog"), absl::Seconds(1));
    last = s.status();
    if (s.ok()) connected.push_back(*std::move(s));
  }
  EXPECT_EQ(last.code(), absl::StatusCode::kDeadlineExceeded) << last;
  const Greenlet<absl::Status> waiting =
      Spawn([&] { return UnixSeqPacket::Connect(Name("backlog")).status(); });
  Yield();
  ASSERT_TRUE(listener.Accept().ok());
  EXPECT_TRUE(waiting.Get().ok());
}

}  // namespace
}  // namespace grove::net
