#include "grove/net/internal/passengers.h"

#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace grove::net::net_internal {

OutgoingFds::OutgoingFds(msghdr& message, absl::Span<const int> fds) {
  if (fds.empty()) return;
  const size_t bytes = fds.size() * sizeof(int);
  memset(control_, 0, CMSG_SPACE(bytes));
  message.msg_control = control_;
  message.msg_controllen = CMSG_SPACE(bytes);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(bytes);
  memcpy(CMSG_DATA(header), fds.data(), bytes);
}

IncomingPassengers::IncomingPassengers(msghdr& message, bool take_fds)
    : take_fds_(take_fds) {
  message.msg_control = control_;
  // The sender, if it comes, is the first (net/core/scm.c).
  message.msg_controllen = take_fds ? sizeof control_ : CMSG_SPACE(sizeof(ucred));
}

absl::Status IncomingPassengers::Take(const msghdr& message, size_t max_fds,
                                      Operation operation, std::vector<int>& fds,
                                      std::optional<PeerCredentials>& sender) {
  msghdr m = message;  // CMSG_NXTHDR() takes no const one
  for (cmsghdr* h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
    if (h->cmsg_level != SOL_SOCKET) continue;
    if (h->cmsg_type == SCM_RIGHTS) {
      const size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      const size_t before = fds.size();
      fds.resize(before + count);
      memcpy(fds.data() + before, CMSG_DATA(h), count * sizeof(int));
    } else if (h->cmsg_type == SCM_CREDENTIALS) {
      ucred who;
      memcpy(&who, CMSG_DATA(h), sizeof who);
      sender = PeerCredentials{who.pid, who.uid, who.gid};
    }
  }
  // Without room for any, some could come where the sender does not.
  if (!take_fds_) max_fds = 0;
  // Truncated if this process may have no more descriptors (unix(7)).
  const bool cut = take_fds_ && (message.msg_flags & MSG_CTRUNC) != 0;
  if (fds.size() <= max_fds && !cut) return absl::OkStatus();
  const size_t came = fds.size();
  for (int fd : fds) close(fd);
  fds.clear();
  if (!take_fds_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(operation(), ": ", came, " descriptors came, of at most ", max_fds,
                   cut ? ", and not all of them" : "", "; they were closed"));
}

}  // namespace grove::net::net_internal
