#ifndef GROVE_NET_INTERNAL_TLS_TICKET_KEYS_H_
#define GROVE_NET_INTERNAL_TLS_TICKET_KEYS_H_

#include <cstdint>
#include <mutex>
#include <optional>

#include "absl/time/time.h"
#include "openssl/cipher.h"
#include "openssl/hmac.h"

namespace grove::net::tls_internal {

// TicketKeys
//
// What a server encrypts its session tickets with: a key for new ones, and the one before
// it, by which older ones are still read. Whoever has them could read sessions that were
// resumed by TLS 1.2's tickets, so none lives for long.
//
// Threads: any.
class TicketKeys {
 public:
  explicit TicketKeys(absl::Duration lifetime) : lifetime_(lifetime) {}

  void Rotate();

  // Called for a ticket; see SSL_CTX_set_tlsext_ticket_key_cb() for what is returned.
  int Seal(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac);
  int Open(const uint8_t* name, const uint8_t* iv, EVP_CIPHER_CTX* cipher,
           HMAC_CTX* hmac);

 private:
  struct Key {
    uint8_t name[16];
    uint8_t cipher[32];
    uint8_t hmac[32];
    absl::Time made;
  };
  void RotateLocked(absl::Time now);
  void DropOld(absl::Time now);

  const absl::Duration lifetime_;
  std::mutex mutex_;  // held across no call that blocks
  std::optional<Key> current_;
  std::optional<Key> last_;
};

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_TICKET_KEYS_H_
