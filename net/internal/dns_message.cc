#include "grove/net/internal/dns_message.h"

#include <ares.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/net/internal/host_name.h"

namespace grove::net::net_internal {
namespace {

constexpr uint16_t kCname = 5;
constexpr uint16_t kSoa = 6;
constexpr uint16_t kClassIn = 1;
// A time with its highest bit set is to be taken for 0 (RFC 2181, section 8).
constexpr uint32_t kMaxTtl = 0x7fffffff;

// Reads a message from front to back. Once something is missing, bad() is true and what
// is read is zero or empty.
class Reader {
 public:
  explicit Reader(absl::string_view message) : message_(message) {}

  bool bad() const { return bad_; }
  size_t position() const { return at_; }
  void set_position(size_t at) { at_ = at; }

  uint16_t U16() {
    const absl::string_view s = Bytes(2);
    if (s.empty()) return 0;
    return static_cast<uint16_t>(static_cast<uint8_t>(s[0]) << 8 |
                                 static_cast<uint8_t>(s[1]));
  }
  uint32_t U32() {
    const uint32_t high = U16();
    return high << 16 | U16();
  }
  absl::string_view Bytes(size_t n) {
    if (bad_ || message_.size() - at_ < n) {
      bad_ = true;
      return {};
    }
    at_ += n;
    return message_.substr(at_ - n, n);
  }
  // A name, which may refer to what came before it.
  std::string Name() {
    if (bad_ || at_ >= message_.size()) {
      bad_ = true;
      return {};
    }
    const auto* data = reinterpret_cast<const unsigned char*>(message_.data());
    char* name = nullptr;
    long length = 0;  // NOLINT(runtime/int): c-ares has it so
    if (ares_expand_name(data + at_, data, static_cast<int>(message_.size()), &name,
                         &length) != ARES_SUCCESS) {
      bad_ = true;
      return {};
    }
    std::string text(name);
    ares_free_string(name);
    at_ += static_cast<size_t>(length);
    return text;
  }

 private:
  const absl::string_view message_;
  size_t at_ = 0;
  bool bad_ = false;
};

struct Record {
  std::string owner;
  uint16_t type;
  absl::Duration ttl;
  size_t data;  // where it begins
  size_t end;
};

std::optional<Record> ReadRecord(Reader& reader) {
  Record r;
  r.owner = reader.Name();
  r.type = reader.U16();
  if (reader.U16() != kClassIn) r.type = 0;  // nothing that anybody asks for
  const uint32_t ttl = reader.U32();
  r.ttl = absl::Seconds(ttl > kMaxTtl ? 0 : ttl);
  const size_t length = reader.U16();
  r.data = reader.position();
  reader.Bytes(length);
  r.end = reader.position();
  if (reader.bad()) return std::nullopt;
  return r;
}

bool CouldBeHost(const std::string& name) { return CanonicalHostName(name).ok(); }

std::optional<Address> ReadAddress(absl::string_view data) {
  if (data.size() == sizeof(in_addr)) {
    sockaddr_in raw = {};
    raw.sin_family = AF_INET;
    memcpy(&raw.sin_addr, data.data(), data.size());
    return *Address::FromRaw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
  }
  if (data.size() == sizeof(in6_addr)) {
    sockaddr_in6 raw = {};
    raw.sin6_family = AF_INET6;
    memcpy(&raw.sin6_addr, data.data(), data.size());
    return *Address::FromRaw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
  }
  return std::nullopt;
}

// The pieces of a TXT record, joined.
std::string ReadText(Reader& reader, size_t end) {
  std::string text;
  while (!reader.bad() && reader.position() < end) {
    const absl::string_view length = reader.Bytes(1);
    if (!length.empty()) {
      absl::StrAppend(&text, reader.Bytes(static_cast<uint8_t>(length[0])));
    }
  }
  return text;
}

// Adds what the record says. False if it is malformed.
bool AddRecord(Reader& reader, const Record& record, Answer* answer) {
  reader.set_position(record.data);
  switch (static_cast<RecordType>(record.type)) {
    case RecordType::kA:
    case RecordType::kAaaa: {
      const bool v6 = record.type == static_cast<uint16_t>(RecordType::kAaaa);
      const auto address = ReadAddress(reader.Bytes(record.end - record.data));
      if (!address || address->is_v6() != v6) return false;
      answer->host.addresses.push_back(*address);
      break;
    }
    case RecordType::kPtr:
      if (std::string name = reader.Name(); CouldBeHost(name)) {
        answer->names.push_back(std::move(name));
      }
      break;
    case RecordType::kMx: {
      MxRecord mx;
      mx.preference = reader.U16();
      mx.exchange = reader.Name();
      // The root stands for "no mail here" (RFC 7505).
      if (CouldBeHost(mx.exchange)) answer->mx.push_back(std::move(mx));
      break;
    }
    case RecordType::kTxt:
      answer->txt.push_back(ReadText(reader, record.end));
      break;
    case RecordType::kSrv: {
      SrvRecord srv;
      srv.priority = reader.U16();
      srv.weight = reader.U16();
      srv.port = reader.U16();
      srv.target = reader.Name();
      // The root stands for "not offered here" (RFC 2782).
      if (CouldBeHost(srv.target)) answer->srv.push_back(std::move(srv));
      break;
    }
  }
  return !reader.bad() && reader.position() == record.end;
}

// The answer section: the chain of aliases from `name`, and what is at its end. The chain
// comes in order from every server that follows it for others; what does not belong to
// it is nobody's business.
bool ReadAnswers(Reader& reader, int count, RecordType type, std::string name,
                 Answer* answer) {
  HostAnswer& host = answer->host;
  for (int i = 0; i < count; ++i) {
    const std::optional<Record> record = ReadRecord(reader);
    if (!record) return false;
    const bool alias = record->type == kCname;
    const bool wanted = record->type == static_cast<uint16_t>(type);
    if ((alias || wanted) && absl::EqualsIgnoreCase(record->owner, name)) {
      host.ttl = std::min(host.ttl, record->ttl);
      if (alias) {
        reader.set_position(record->data);
        std::string target = reader.Name();
        if (reader.bad() || reader.position() != record->end) return false;
        const bool of_host = type == RecordType::kA || type == RecordType::kAaaa;
        if (of_host && !CouldBeHost(target)) return false;
        host.aliases.push_back(std::exchange(name, std::move(target)));
      } else if (!AddRecord(reader, *record, answer)) {
        return false;
      }
    }
    reader.set_position(record->end);
  }
  host.canonical_name = std::move(name);
  return true;
}

// The authority section's SOA: how long it is certain that there is nothing.
absl::Duration ReadNegativeTtl(Reader& reader, int count) {
  for (int i = 0; i < count; ++i) {
    const std::optional<Record> record = ReadRecord(reader);
    if (!record) break;
    if (record->type != kSoa) continue;
    reader.set_position(record->data);
    reader.Name();
    reader.Name();
    for (int skipped = 0; skipped < 4; ++skipped) reader.U32();
    const uint32_t minimum = reader.U32();
    if (reader.bad()) break;
    return std::min(record->ttl, absl::Seconds(minimum > kMaxTtl ? 0 : minimum));
  }
  return absl::InfiniteDuration();
}

bool IsEmpty(const Answer& answer) {
  return answer.host.addresses.empty() && answer.names.empty() && answer.srv.empty() &&
         answer.txt.empty() && answer.mx.empty();
}

void Sort(Answer* answer) {
  std::stable_sort(answer->srv.begin(), answer->srv.end(),
                   [](const SrvRecord& a, const SrvRecord& b) {
                     if (a.priority != b.priority) return a.priority < b.priority;
                     return a.weight > b.weight;
                   });
  std::stable_sort(
      answer->mx.begin(), answer->mx.end(),
      [](const MxRecord& a, const MxRecord& b) { return a.preference < b.preference; });
}

std::string CodeName(int code) {
  static constexpr const char* kNames[] = {"NOERROR",  "FORMERR", "SERVFAIL",
                                           "NXDOMAIN", "NOTIMP",  "REFUSED"};
  if (code < static_cast<int>(std::size(kNames))) return kNames[code];
  return absl::StrCat("RCODE ", code);
}

}  // namespace

DnsReply ParseReply(absl::string_view message, RecordType type) {
  DnsReply reply;
  Reader reader(message);
  reader.U16();  // the id, which has been compared
  const uint16_t flags = reader.U16();
  const int questions = reader.U16();
  const int answers = reader.U16();
  const int authorities = reader.U16();
  reader.U16();
  std::string name = reader.Name();
  const uint16_t asked = reader.U16();
  reader.U16();
  if (reader.bad()) return reply;
  constexpr int kNoError = 0, kNxDomain = 3;
  const int code = flags & 15;
  reply.code = CodeName(code);
  if (questions != 1 || asked != static_cast<uint16_t>(type)) return reply;
  if (code != kNoError && code != kNxDomain) {
    reply.failure = LookupFailure::kServerFailed;
    return reply;
  }
  if (!ReadAnswers(reader, answers, type, std::move(name), &reply.answer)) return reply;
  if (IsEmpty(reply.answer)) {
    reply.failure =
        code == kNxDomain ? LookupFailure::kNoSuchName : LookupFailure::kNoData;
    reply.negative_ttl = ReadNegativeTtl(reader, authorities);
    return reply;
  }
  Sort(&reply.answer);
  reply.failure = LookupFailure::kNone;
  return reply;
}

// An IPv4 address in IPv6's clothes is asked for as what it is, as glibc does.
std::string ReverseName(const Address& any) {
  const Address address = any.Unmapped();
  if (!address.is_v6()) {
    const auto* raw = reinterpret_cast<const sockaddr_in*>(address.raw());
    const auto* byte = reinterpret_cast<const uint8_t*>(&raw->sin_addr);
    return absl::StrCat(byte[3], ".", byte[2], ".", byte[1], ".", byte[0],
                        ".in-addr.arpa");
  }
  const auto* raw = reinterpret_cast<const sockaddr_in6*>(address.raw());
  std::string name;
  for (int i = 15; i >= 0; --i) {
    const uint8_t byte = raw->sin6_addr.s6_addr[i];
    absl::StrAppend(&name, absl::Hex(byte & 15), ".", absl::Hex(byte >> 4), ".");
  }
  return name + "ip6.arpa";
}

}  // namespace grove::net::net_internal
