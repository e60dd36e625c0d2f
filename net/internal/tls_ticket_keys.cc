#include "grove/net/internal/tls_ticket_keys.h"

#include <string.h>

#include "absl/time/clock.h"
#include "openssl/digest.h"
#include "openssl/rand.h"

namespace grove::net::tls_internal {

void TicketKeys::RotateLocked(absl::Time now) {
  last_ = current_;
  Key& key = current_.emplace();
  RAND_bytes(key.name, sizeof key.name);
  RAND_bytes(key.cipher, sizeof key.cipher);
  RAND_bytes(key.hmac, sizeof key.hmac);
  key.made = now;
}

void TicketKeys::DropOld(absl::Time now) {
  if (current_ && now - current_->made > 2 * lifetime_) current_.reset();
  if (last_ && now - last_->made > 2 * lifetime_) last_.reset();
}

void TicketKeys::Rotate() {
  const std::lock_guard lock(mutex_);
  RotateLocked(absl::Now());
}

int TicketKeys::Seal(uint8_t* name, uint8_t* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* hmac) {
  const absl::Time now = absl::Now();
  const std::lock_guard lock(mutex_);
  DropOld(now);
  if (!current_ || now - current_->made > lifetime_) RotateLocked(now);
  memcpy(name, current_->name, sizeof current_->name);
  RAND_bytes(iv, EVP_CIPHER_iv_length(EVP_aes_256_cbc()));
  const bool ok =
      EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, current_->cipher, iv) &&
      HMAC_Init_ex(hmac, current_->hmac, sizeof current_->hmac, EVP_sha256(), nullptr);
  return ok ? 1 : -1;
}

int TicketKeys::Open(const uint8_t* name, const uint8_t* iv, EVP_CIPHER_CTX* cipher,
                     HMAC_CTX* hmac) {
  constexpr int kUnknown = 0, kKnown = 1, kRenew = 2;
  const absl::Time now = absl::Now();
  const std::lock_guard lock(mutex_);
  DropOld(now);
  for (const std::optional<Key>* key : {&current_, &last_}) {
    if (!*key || memcmp(name, (*key)->name, sizeof(*key)->name) != 0) continue;
    const bool ok =
        EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, (*key)->cipher, iv) &&
        HMAC_Init_ex(hmac, (*key)->hmac, sizeof(*key)->hmac, EVP_sha256(), nullptr);
    if (!ok) return -1;
    return key == &current_ && now - current_->made <= lifetime_ ? kKnown : kRenew;
  }
  return kUnknown;
}

}  // namespace grove::net::tls_internal
