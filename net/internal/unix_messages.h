#ifndef GROVE_NET_INTERNAL_UNIX_MESSAGES_H_
#define GROVE_NET_INTERNAL_UNIX_MESSAGES_H_

#include <cstddef>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/socket.h"
#include "grove/net/unix_address.h"
#include "grove/net/unix_message.h"

// Messages through Unix sockets that keep their bounds: datagrams and seqpackets.
namespace grove::net::net_internal {

// One message as a whole, to `to` or, if that is null, to whom the socket is connected.
absl::Status SendUnixMessage(Descriptor& descriptor, absl::string_view data,
                             absl::Span<const int> fds, const UnixAddress* to,
                             Deadline deadline, Operation operation);

// One message; without `max_fds` no descriptors are taken.
absl::StatusOr<UnixMessage> ReceiveUnixMessage(Descriptor& descriptor,
                                               absl::Span<char> buffer,
                                               std::optional<size_t> max_fds,
                                               Deadline deadline, Operation operation);

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_UNIX_MESSAGES_H_
