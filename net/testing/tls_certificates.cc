#include "grove/net/testing/tls_certificates.h"

#include "absl/strings/str_join.h"
#include "grove/hub/internal/check.h"
#include "openssl/bn.h"
#include "openssl/ec_key.h"
#include "openssl/evp.h"
#include "openssl/mem.h"
#include "openssl/nid.h"
#include "openssl/pem.h"
#include "openssl/rand.h"
#include "openssl/rsa.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"

namespace grove::net {

struct TestAuthority::Keys {
  bssl::UniquePtr<EVP_PKEY> key;
  bssl::UniquePtr<X509> certificate;
};

namespace {

bssl::UniquePtr<EVP_PKEY> NewKey(bool rsa) {
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (rsa) {
    const bssl::UniquePtr<BIGNUM> exponent(BN_new());
    BN_set_word(exponent.get(), RSA_F4);
    const bssl::UniquePtr<RSA> pair(RSA_new());
    GROVE_CHECK(RSA_generate_key_ex(pair.get(), 2048, exponent.get(), nullptr), "no key");
    EVP_PKEY_set1_RSA(key.get(), pair.get());
  } else {
    const bssl::UniquePtr<EC_KEY> pair(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
    GROVE_CHECK(EC_KEY_generate_key(pair.get()), "no key");
    EVP_PKEY_set1_EC_KEY(key.get(), pair.get());
  }
  return key;
}

void AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const bssl::UniquePtr<X509_EXTENSION> extension(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  GROVE_CHECK(extension != nullptr, "no extension ", value);
  X509_add_ext(certificate, extension.get(), -1);
}

// Signed by `key`, in the name of `issuer`; by itself if that is null.
bssl::UniquePtr<X509> NewCertificate(const TestCertificate& wanted, EVP_PKEY* own,
                                     X509* issuer, EVP_PKEY* key, bool authority) {
  bssl::UniquePtr<X509> x(X509_new());
  X509_set_version(x.get(), 2);  // the third
  uint64_t serial = 0;
  RAND_bytes(reinterpret_cast<uint8_t*>(&serial), sizeof serial);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x.get()), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(x.get()), absl::ToInt64Seconds(wanted.valid_from));
  X509_gmtime_adj(X509_getm_notAfter(x.get()), absl::ToInt64Seconds(wanted.valid_until));
  X509_set_pubkey(x.get(), own);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const uint8_t*>(wanted.common_name.c_str()),
                             -1, -1, 0);
  if (issuer == nullptr) issuer = x.get();
  X509_set_issuer_name(x.get(), X509_get_subject_name(issuer));
  AddExtension(x.get(), issuer, NID_basic_constraints,
               authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  std::vector<std::string> names;
  for (const std::string& n : wanted.dns_names) names.push_back("DNS:" + n);
  for (const std::string& a : wanted.addresses) names.push_back("IP:" + a);
  if (!names.empty()) {
    AddExtension(x.get(), issuer, NID_subject_alt_name, absl::StrJoin(names, ","));
  }
  GROVE_CHECK(X509_sign(x.get(), key, EVP_sha256()), "no signature");
  return x;
}

std::string Text(BIO* bio) {
  const uint8_t* data = nullptr;
  size_t size = 0;
  BIO_mem_contents(bio, &data, &size);
  return std::string(reinterpret_cast<const char*>(data), size);
}

std::string Pem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return Text(bio.get());
}

std::string Pem(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return Text(bio.get());
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name) : keys_(new Keys) {
  keys_->key = NewKey(/*rsa=*/false);
  keys_->certificate = NewCertificate({.common_name = name}, keys_->key.get(), nullptr,
                                      keys_->key.get(), /*authority=*/true);
  root_ = Pem(keys_->certificate.get());
}

TestAuthority::~TestAuthority() { delete keys_; }

TlsIdentity TestAuthority::Issue(const TestCertificate& wanted) const {
  const bssl::UniquePtr<EVP_PKEY> key = NewKey(wanted.rsa);
  const bssl::UniquePtr<X509> x = NewCertificate(
      wanted, key.get(), keys_->certificate.get(), keys_->key.get(), false);
  return {.chain = Pem(x.get()), .key = Pem(key.get())};
}

TlsIdentity TestAuthority::SelfSigned(const TestCertificate& wanted) {
  const bssl::UniquePtr<EVP_PKEY> key = NewKey(wanted.rsa);
  const bssl::UniquePtr<X509> x =
      NewCertificate(wanted, key.get(), nullptr, key.get(), false);
  return {.chain = Pem(x.get()), .key = Pem(key.get())};
}

}  // namespace grove::net
