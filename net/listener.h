#ifndef GROVE_NET_LISTENER_H_
#define GROVE_NET_LISTENER_H_

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/net/stream.h"

namespace grove::net {

// Listener
//
// What a StreamServer may accept from: TcpListener, UnixListener, TlsListener, and others
// that look like them.
//
//   absl::StatusOr<S> TryAccept();    an S is a Stream; EAGAIN if nobody is there
//   absl::Status WaitForConnection(); fails once it is closed
//   void Close();
//   ... address();                    with a ToString()
//
// If it has an `absl::Status Greet(S&)`, that is called first in the greenlet of each
// connection, and may block; if it fails, the handler is not called. A static function
// `Address PeerOf(const S&)` says whose connection it is, if S has no peer().
template <typename L>
concept Listener = requires(L listener) {
  { *listener.TryAccept() } -> std::convertible_to<Stream&&>;
  { listener.WaitForConnection() } -> std::same_as<absl::Status>;
  listener.Close();
  { listener.address().ToString() } -> std::convertible_to<std::string>;
};

// The S of a Listener.
template <typename L>
using StreamOf =
    typename std::decay_t<decltype(std::declval<L&>().TryAccept())>::value_type;

// What may serve the connections of a Listener: a callable of an S&, or of a Stream&.
template <typename H, typename L>
concept HandlerFor = std::invocable < H&,
        StreamOf<L>
& > ;

}  // namespace grove::net

#endif  // GROVE_NET_LISTENER_H_
