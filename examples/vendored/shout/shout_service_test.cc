#include "shout/shout_service.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "grove/green/descriptor.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "gtest/gtest.h"

namespace shout {
namespace {

using grove::Descriptor;
using grove::WaitResult;

// The client's end of a connection to a service.
class ShoutServiceTest : public ::testing::Test {
 protected:
  ShoutServiceTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client_ = Descriptor(fds[0]);
    service_fd_ = fds[1];
  }

  void Write(const std::string& text) {
    ASSERT_EQ(write(client_.fd(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
  }

  std::string Read() {
    char buffer[256];
    EXPECT_EQ(client_.WaitReadable(absl::Seconds(30)), WaitResult::kReady);
    const ssize_t n = read(client_.fd(), buffer, sizeof buffer);
    return n > 0 ? std::string(buffer, n) : "";
  }

  grove::HubScope hub_;
  Descriptor client_;
  int service_fd_;
};

TEST_F(ShoutServiceTest, AnswersLinesInCapitals) {
  ShoutService service(service_fd_);
  Write("hello\n");
  EXPECT_EQ(Read(), "HELLO\n");
  Write("and ");
  grove::Yield();
  Write("again\n");
  EXPECT_EQ(Read(), "AND AGAIN\n");
  client_.Close();
  EXPECT_EQ(service.Join(), 2);
}

TEST_F(ShoutServiceTest, EndsWhileItWaits) {
  {
    ShoutService service(service_fd_);
    Write("hello\n");
    EXPECT_EQ(Read(), "HELLO\n");
  }
  EXPECT_EQ(grove::LiveGreenlets(), 0u);
  // Its end of the connection is closed with it.
  EXPECT_EQ(Read(), "");
}

TEST_F(ShoutServiceTest, EndsBeforeItBegins) {
  { ShoutService service(service_fd_); }
  EXPECT_EQ(grove::LiveGreenlets(), 0u);
}

}  // namespace
}  // namespace shout
