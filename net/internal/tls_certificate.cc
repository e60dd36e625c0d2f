#include "grove/net/internal/tls_certificate.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "grove/green/status.h"
#include "grove/net/internal/tls_error.h"
#include "openssl/asn1.h"
#include "openssl/bio.h"
#include "openssl/digest.h"
#include "openssl/err.h"
#include "openssl/mem.h"
#include "openssl/pem.h"
#include "openssl/x509v3.h"

namespace grove::net::tls_internal {
namespace {

std::string NameText(X509_NAME* name) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  const uint8_t* text = nullptr;
  size_t size = 0;
  BIO_mem_contents(bio.get(), &text, &size);
  return std::string(reinterpret_cast<const char*>(text), size);
}

absl::Time TimeOf(const ASN1_TIME* time) {
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0, seconds = 0;
  if (!ASN1_TIME_diff(&days, &seconds, epoch.get(), time)) return absl::InfinitePast();
  return absl::UnixEpoch() + days * absl::Hours(24) + absl::Seconds(seconds);
}

std::string AddressText(const ASN1_OCTET_STRING* address) {
  char text[INET6_ADDRSTRLEN] = "";
  const int size = ASN1_STRING_length(address);
  if (size != 4 && size != 16) return "";
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text,
            sizeof text);
  return text;
}

// Not the thread's terminal, which is where OpenSSL would ask for one.
int NoPassword(char*, int, int, void*) { return 0; }

bssl::UniquePtr<BIO> Reader(absl::string_view text) {
  return bssl::UniquePtr<BIO>(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// What an identity is read from: its text, or else its file.
struct Source {
  std::string text;
  std::string name;
};
absl::StatusOr<Source> ReadSource(const std::string& text, const std::string& file,
                                  const char* what) {
  if (!text.empty() && !file.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("TLS: ", what, " is given both as text and as file ", file));
  }
  if (!text.empty()) return Source{text, what};
  if (file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("TLS: no ", what, " is given"));
  }
  absl::StatusOr<std::string> contents = ReadFile(file);
  if (!contents.ok()) return contents.status();
  return Source{*std::move(contents), file};
}

}  // namespace

TlsCertificate Describe(const X509& certificate) {
  X509* const x = const_cast<X509*>(&certificate);  // reading takes no const
  TlsCertificate result;
  result.subject = NameText(X509_get_subject_name(x));
  result.issuer = NameText(X509_get_issuer_name(x));
  result.not_before = TimeOf(X509_get0_notBefore(x));
  result.not_after = TimeOf(X509_get0_notAfter(x));
  const bssl::UniquePtr<GENERAL_NAMES> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(x, NID_subject_alt_name, nullptr, nullptr)));
  for (size_t i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      const ASN1_STRING* s = name->d.dNSName;
      result.dns_names.emplace_back(
          reinterpret_cast<const char*>(ASN1_STRING_get0_data(s)), ASN1_STRING_length(s));
    } else if (name->type == GEN_IPADD) {
      result.addresses.push_back(AddressText(name->d.iPAddress));
    }
  }
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(x, EVP_sha256(), digest, &size)) {
    result.sha256.assign(reinterpret_cast<const char*>(digest), size);
  }
  ERR_clear_error();
  return result;
}

std::string Der(const X509& certificate) {
  uint8_t* der = nullptr;
  const int size = i2d_X509(const_cast<X509*>(&certificate), &der);
  if (size < 0) return "";
  const bssl::UniquePtr<uint8_t> owner(der);
  return std::string(reinterpret_cast<const char*>(der), size);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("read ", path));
  std::string contents;
  char buffer[16384];
  ssize_t n;
  do {
    n = read(fd, buffer, sizeof buffer);
    if (n > 0) contents.append(buffer, n);
  } while (n > 0 || (n < 0 && errno == EINTR));
  const int error = errno;
  close(fd);
  if (n < 0) return ErrnoStatus(error, absl::StrCat("read ", path));
  return contents;
}

absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> ParseCertificates(
    absl::string_view pem, absl::string_view source) {
  ERR_clear_error();
  const bssl::UniquePtr<BIO> bio = Reader(pem);
  std::vector<bssl::UniquePtr<X509>> certificates;
  for (;;) {
    bssl::UniquePtr<X509> x(PEM_read_bio_X509(bio.get(), nullptr, &NoPassword, nullptr));
    if (x == nullptr) break;
    certificates.push_back(std::move(x));
  }
  const uint32_t error = ERR_peek_last_error();
  const bool at_end =
      ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
  const std::string reason = TakeReason();
  if (!at_end) {
    return absl::InvalidArgumentError(absl::StrCat(
        "TLS: certificate ", certificates.size() + 1, " in ", source, ": ", reason));
  }
  if (certificates.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("TLS: there is no certificate in ", source));
  }
  return certificates;
}

absl::StatusOr<Identity> LoadIdentity(const TlsIdentity& identity) {
  const absl::StatusOr<Source> chain =
      ReadSource(identity.chain, identity.chain_file, "certificate");
  if (!chain.ok()) return chain.status();
  const absl::StatusOr<Source> key =
      ReadSource(identity.key, identity.key_file, "private key");
  if (!key.ok()) return key.status();
  auto certificates = ParseCertificates(chain->text, chain->name);
  if (!certificates.ok()) return certificates.status();

  ERR_clear_error();
  Identity result;
  result.chain = *std::move(certificates);
  result.key.reset(
      PEM_read_bio_PrivateKey(Reader(key->text).get(), nullptr, &NoPassword, nullptr));
  if (result.key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("TLS: the private key in ", key->name, ": ", TakeReason()));
  }
  X509* const leaf = result.chain.front().get();
  if (!X509_check_private_key(leaf, result.key.get())) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        absl::StrCat("TLS: the private key in ", key->name, " is not that of ",
                     NameText(X509_get_subject_name(leaf)), " in ", chain->name));
  }
  result.names = identity.names.empty() ? Describe(*leaf).dns_names : identity.names;
  for (std::string& name : result.names) absl::AsciiStrToLower(&name);
  return result;
}

namespace {

absl::Status AddText(X509_STORE* store, const std::string& text,
                     absl::string_view source) {
  const auto certificates = ParseCertificates(text, source);
  if (!certificates.ok()) return certificates.status();
  for (const bssl::UniquePtr<X509>& x : *certificates) {
    X509_STORE_add_cert(store, x.get());
  }
  ERR_clear_error();
  return absl::OkStatus();
}

// Every certificate in a folder's files. Folders of roots have other things in them too,
// and the same certificates under several names.
size_t AddFolder(X509_STORE* store, const std::string& folder) {
  DIR* const dir = opendir(folder.c_str());
  if (dir == nullptr) return 0;
  size_t added = 0;
  while (const dirent* entry = readdir(dir)) {
    const std::string path = absl::StrCat(folder, "/", entry->d_name);
    struct stat info;
    if (stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    const absl::StatusOr<std::string> text = ReadFile(path);
    if (text.ok() && AddText(store, *text, path).ok()) ++added;
  }
  closedir(dir);
  return added;
}

// Where distributions keep them all in one file.
constexpr const char* kBundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",                   // older ones of those
    "/etc/ssl/ca-bundle.pem",                             // openSUSE
    "/etc/ssl/cert.pem",                                  // Alpine
};
constexpr const char* kFolder = "/etc/ssl/certs";

}  // namespace

absl::Status AddRoots(X509_STORE* store, const std::string& text,
                      const std::string& file) {
  if (!text.empty()) {
    if (absl::Status s = AddText(store, text, "the roots"); !s.ok()) return s;
  }
  if (file.empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> contents = ReadFile(file);
  if (!contents.ok()) return contents.status();
  return AddText(store, *contents, file);
}

absl::Status AddSystemRoots(X509_STORE* store) {
  std::vector<std::string> tried;
  bool found = false;
  // Empty is as good as unset.
  const auto setting = [](const char* name) {
    const char* value = getenv(name);
    return value && *value ? value : nullptr;
  };
  if (const char* file = setting("SSL_CERT_FILE")) {
    const absl::Status s = AddRoots(store, "", file);
    if (!s.ok()) return Annotate(s, "SSL_CERT_FILE");
    found = true;
  }
  if (const char* folders = setting("SSL_CERT_DIR")) {
    for (const std::string& folder :
         std::vector<std::string>(absl::StrSplit(folders, ':', absl::SkipEmpty()))) {
      found |= AddFolder(store, folder) > 0;
      tried.push_back(folder);
    }
    if (!found) tried.insert(tried.begin(), "SSL_CERT_DIR:");
  }
  const bool told = setting("SSL_CERT_FILE") || setting("SSL_CERT_DIR");
  for (size_t i = 0; !told && !found && i < std::size(kBundles); ++i) {
    if (access(kBundles[i], R_OK) == 0) {
      if (absl::Status s = AddRoots(store, "", kBundles[i]); !s.ok()) return s;
      found = true;
    }
    tried.push_back(kBundles[i]);
  }
  if (!told && !found) {
    found = AddFolder(store, kFolder) > 0;
    tried.push_back(kFolder);
  }
  if (found) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat(
      "TLS: the system's root certificates were not found (", absl::StrJoin(tried, ", "),
      "): install the package ca-certificates, set SSL_CERT_FILE or "
      "SSL_CERT_DIR, or give roots"));
}

}  // namespace grove::net::tls_internal
