#include "shout/shout_service.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <string>

#include "grove/green/descriptor.h"
#include "grove/green/timeout.h"

namespace shout {
namespace {

using grove::Descriptor;
using grove::WaitResult;

// What is there, at most a page of it; empty at the end of the stream.
std::string ReadSome(Descriptor& connection) {
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(connection.fd(), buffer, sizeof buffer);
    if (n >= 0) return std::string(buffer, n);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return "";
    if (connection.WaitReadable() != WaitResult::kReady) return "";
  }
}

// False if the other side does not listen any more.
bool WriteAll(Descriptor& connection, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n =
        send(connection.fd(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n >= 0) {
      done += n;
    } else if (errno == EAGAIN) {
      if (connection.WaitWritable() != WaitResult::kReady) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

constexpr size_t kMaxLine = 64 << 10;

}  // namespace

ShoutService::ShoutService(int fd)
    : connection_(fd), greenlet_(grove::Spawn({.name = "shout"}, [this] { Serve(); })) {}

ShoutService::~ShoutService() {
  grove::Shield shield;  // a destructor does not throw
  greenlet_.Kill();
}

int ShoutService::Join() {
  greenlet_.Join();
  return lines_;
}

void ShoutService::Serve() {
  std::string pending;
  // A line without an end ends it: else a peer could fill the memory.
  while (pending.size() <= kMaxLine) {
    const std::string more = ReadSome(connection_);
    if (more.empty()) break;
    pending += more;
    for (size_t end; (end = pending.find('\n')) != std::string::npos;) {
      std::string line = pending.substr(0, end + 1);
      pending.erase(0, end + 1);
      for (char& c : line) c = std::toupper(static_cast<unsigned char>(c));
      if (!WriteAll(connection_, line)) {
        connection_.Close();
        return;
      }
      ++lines_;
    }
  }
  connection_.Close();
}

}  // namespace shout
