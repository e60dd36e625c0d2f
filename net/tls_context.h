#ifndef GROVE_NET_TLS_CONTEXT_H_
#define GROVE_NET_TLS_CONTEXT_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/net/tls_options.h"

namespace grove::net {

namespace tls_internal {
class ClientState;
class ServerState;
}  // namespace tls_internal

// TlsClientContext
//
// What the TLS connections of clients have in common: whom they trust, what they offer,
// and the sessions that they resume. Made once and used for many, since reading the
// system's roots takes milliseconds. A handle: copies are the same context.
//
//   absl::StatusOr<TlsClientContext> tls = TlsClientContext::Make();
//   TlsStream stream(*std::move(tcp), *tls, "example.com");
//
// Threads: any, and any number of hubs.
class TlsClientContext {
 public:
  // TlsClientContext::Make()
  //
  // Reads files; blocks its thread for that long. A status says what is wrong with which
  // certificate, key or file: kInvalidArgument, kNotFound, or what open(2) said.
  static absl::StatusOr<TlsClientContext> Make(TlsClientOptions options = {});

  const TlsClientOptions& options() const;
  // For TlsStream.
  const std::shared_ptr<tls_internal::ClientState>& state() const { return state_; }

 private:
  explicit TlsClientContext(std::shared_ptr<tls_internal::ClientState> state)
      : state_(std::move(state)) {}

  std::shared_ptr<tls_internal::ClientState> state_;
};

// TlsServerContext
//
// What the TLS connections of a server have in common: certificates for each of its
// names, whom it asks for theirs, and the keys of its session tickets. A handle: copies
// are the same context.
//
//   absl::StatusOr<TlsServerContext> tls = TlsServerContext::Make(
//       {.identities = {{.chain_file = "fullchain.pem", .key_file = "privkey.pem"}}});
//   TlsStream stream(*listener.Accept(), *tls);
//
// Threads: any, and any number of hubs.
class TlsServerContext {
 public:
  // As TlsClientContext::Make().
  static absl::StatusOr<TlsServerContext> Make(TlsServerOptions options);

  // TlsServerContext::Reload()
  //
  // Reads all files again. Connections that begin afterwards, on all hubs, take the new
  // certificates, those before keep theirs; clients go on resuming their sessions. If
  // anything is wrong with the new ones nothing changes, and the status says what it is.
  //
  // Reads files; blocks its thread for that long: Blocking([&] { return tls.Reload(); })
  // does not.
  absl::Status Reload() const;

  // TlsServerContext::RotateTicketKey()
  //
  // Begins with a new key for tickets now. Those of the last key are still read, older
  // ones are not. Happens by itself; see TlsServerOptions::ticket_key_lifetime.
  void RotateTicketKey() const;

  const TlsServerOptions& options() const;
  // For TlsStream.
  const std::shared_ptr<tls_internal::ServerState>& state() const { return state_; }

 private:
  explicit TlsServerContext(std::shared_ptr<tls_internal::ServerState> state)
      : state_(std::move(state)) {}

  std::shared_ptr<tls_internal::ServerState> state_;
};

}  // namespace grove::net

#endif  // GROVE_NET_TLS_CONTEXT_H_
