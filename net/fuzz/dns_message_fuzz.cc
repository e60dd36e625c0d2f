#include <cstddef>
#include <cstdint>

#include "grove/hub/internal/check.h"
#include "grove/net/internal/dns_message.h"

// What a name server may send: any bytes. The first one says what was asked for.
namespace grove::net::net_internal {
namespace {

constexpr RecordType kTypes[] = {RecordType::kA,   RecordType::kAaaa, RecordType::kPtr,
                                 RecordType::kSrv, RecordType::kTxt,  RecordType::kMx};

void Fuzz(absl::string_view data) {
  if (data.empty()) return;
  const RecordType type = kTypes[static_cast<uint8_t>(data[0]) % std::size(kTypes)];
  const DnsReply reply = ParseReply(data.substr(1), type);
  const Answer& a = reply.answer;
  const bool has = !a.host.addresses.empty() || !a.names.empty() || !a.srv.empty() ||
                   !a.txt.empty() || !a.mx.empty();
  GROVE_CHECK(has || reply.failure != LookupFailure::kNone, "an answer without any");
  if (reply.failure != LookupFailure::kNone) return;
  GROVE_CHECK(a.host.ttl >= absl::ZeroDuration(), "a time before now");
  for (const Address& address : a.host.addresses) {
    GROVE_CHECK(address.is_v6() == (type == RecordType::kAaaa), "another family");
    GROVE_CHECK(address.port() == 0, "a port");
  }
  for (const std::string& name : a.names) {
    GROVE_CHECK(name.find_first_of("\n \\") == name.npos, "a name that is none");
  }
}

}  // namespace
}  // namespace grove::net::net_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  grove::net::net_internal::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
