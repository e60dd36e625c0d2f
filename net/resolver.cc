#include "grove/net/resolver.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/optional.h"
#include "grove/net/internal/address_order.h"
#include "grove/net/internal/host_name.h"

namespace grove::net {

namespace {

constexpr absl::string_view kFailureUrl = "grove/lookup_failure";
constexpr absl::string_view kTtlUrl = "grove/negative_ttl";

absl::StatusCode CodeOf(LookupFailure failure) {
  switch (failure) {
    case LookupFailure::kNone:
      break;
    case LookupFailure::kNoSuchName:
    case LookupFailure::kNoData:
      return absl::StatusCode::kNotFound;
    case LookupFailure::kBadName:
      return absl::StatusCode::kInvalidArgument;
    case LookupFailure::kTimeout:
      return absl::StatusCode::kDeadlineExceeded;
    case LookupFailure::kServerFailed:
    case LookupFailure::kUnreachable:
    case LookupFailure::kMalformed:
      return absl::StatusCode::kUnavailable;
    case LookupFailure::kNotSupported:
      return absl::StatusCode::kUnimplemented;
  }
  return absl::StatusCode::kUnknown;
}

const char* TypeName(Question::Type type) {
  switch (type) {
    case Question::Type::kHost:
      return "host";
    case Question::Type::kReverse:
      return "address";
    case Question::Type::kSrv:
      return "SRV of";
    case Question::Type::kTxt:
      return "TXT of";
    case Question::Type::kMx:
      return "MX of";
  }
  return "?";
}

// A question about a name that may be one; else why not.
bool IsBelow(absl::string_view name, absl::string_view domain) {
  absl::ConsumeSuffix(&name, ".");
  if (!absl::ConsumeSuffix(&name, domain)) return false;
  return name.empty() || name.back() == '.';
}

absl::StatusOr<Question> QuestionOf(Question::Type type, absl::string_view name,
                                    AddressFamily family = AddressFamily::kAny) {
  absl::StatusOr<std::string> canonical = net_internal::CanonicalHostName(name);
  if (!canonical.ok()) {
    return LookupError(LookupFailure::kBadName, canonical.status().message());
  }
  Question question{type, *std::move(canonical), family};
  if (IsBelow(question.name, "onion")) {  // RFC 7686
    return LookupError(
        LookupFailure::kNoSuchName,
        absl::StrCat("look up ", question.ToString(), ": DNS knows no .onion"));
  }
  return question;
}

HostAnswer Only(std::string name, std::vector<Address> addresses) {
  HostAnswer answer;
  answer.addresses = std::move(addresses);
  answer.canonical_name = std::move(name);
  return answer;
}

// A numeric address; what is IPv4 in the clothes of IPv6 ("::ffff:192.0.2.1") is both.
absl::StatusOr<HostAnswer> AsItIs(absl::string_view host, const Address& address,
                                  AddressFamily family) {
  if (family == AddressFamily::kV4 && address.is_v6()) {
    if (const auto v4 = net_internal::Unmapped(address)) {
      return Only(std::string(host), {*v4});
    }
  }
  if (family == (address.is_v6() ? AddressFamily::kV4 : AddressFamily::kV6)) {
    return LookupError(LookupFailure::kNoData,
                       absl::StrCat("look up host \"", host, "\": it is an IPv",
                                    address.is_v6() ? "6" : "4", " address"));
  }
  return Only(std::string(host), {address});
}

absl::StatusOr<HostAnswer> Loopback(const Question& question) {
  static const Address v4 = Address::Loopback(0);
  static const Address v6 = *Address::FromIp("::1", 0);
  switch (question.family) {
    case AddressFamily::kV4:
      return Only("localhost", {v4});
    case AddressFamily::kV6:
      return Only("localhost", {v6});
    case AddressFamily::kAny:
      break;
  }
  std::vector<Address> both = {v4, v6};
  net_internal::SortAddresses(&both);
  return Only("localhost", std::move(both));
}

}  // namespace

absl::Status LookupError(LookupFailure failure, absl::string_view message) {
  absl::Status status(CodeOf(failure), message);
  status.SetPayload(kFailureUrl, absl::Cord(absl::StrCat(static_cast<int>(failure))));
  return status;
}

LookupFailure LookupFailureOf(const absl::Status& status) {
  int value = 0;
  if (absl::optional<absl::Cord> payload = status.GetPayload(kFailureUrl)) {
    if (!absl::SimpleAtoi(std::string(*payload), &value)) value = 0;
  }
  return static_cast<LookupFailure>(value);
}

absl::Status WithNegativeTtl(absl::Status status, absl::Duration ttl) {
  status.SetPayload(kTtlUrl, absl::Cord(absl::StrCat(absl::ToInt64Seconds(ttl))));
  return status;
}

absl::Duration NegativeTtl(const absl::Status& status) {
  int64_t seconds;
  const absl::optional<absl::Cord> payload = status.GetPayload(kTtlUrl);
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &seconds)) {
    return absl::InfiniteDuration();
  }
  return absl::Seconds(seconds);
}

std::string Question::ToString() const {
  return absl::StrCat(TypeName(type), " \"", name, "\"",
                      family == AddressFamily::kV4   ? " (IPv4)"
                      : family == AddressFamily::kV6 ? " (IPv6)"
                                                     : "");
}

absl::StatusOr<HostAnswer> Resolver::LookupHost(absl::string_view host,
                                                LookupOptions options) {
  if (const std::optional<Address> numeric = net_internal::ParseNumericHost(host)) {
    return AsItIs(host, *numeric, options.family);
  }
  absl::StatusOr<Question> question =
      QuestionOf(Question::Type::kHost, host, options.family);
  if (!question.ok()) return question.status();
  question->one_of_both = options.one_of_both && options.family != AddressFamily::kAny;
  if (IsBelow(question->name, "localhost")) return Loopback(*question);
  absl::StatusOr<Answer> answer = Resolve(*question, options.deadline);
  if (!answer.ok()) return answer.status();
  return std::move(answer->host);
}

absl::StatusOr<std::vector<std::string>> Resolver::LookupAddress(const Address& address,
                                                                 Deadline deadline) {
  std::string ip = address.ip();
  ip.resize(std::min(ip.find('%'), ip.size()));
  absl::StatusOr<Answer> answer =
      Resolve({Question::Type::kReverse, std::move(ip)}, deadline);
  if (!answer.ok()) return answer.status();
  return std::move(answer->names);
}

absl::StatusOr<std::vector<SrvRecord>> Resolver::LookupSrv(absl::string_view name,
                                                           Deadline deadline) {
  absl::StatusOr<Question> question = QuestionOf(Question::Type::kSrv, name);
  if (!question.ok()) return question.status();
  absl::StatusOr<Answer> answer = Resolve(*question, deadline);
  if (!answer.ok()) return answer.status();
  return std::move(answer->srv);
}

absl::StatusOr<std::vector<std::string>> Resolver::LookupTxt(absl::string_view name,
                                                             Deadline deadline) {
  absl::StatusOr<Question> question = QuestionOf(Question::Type::kTxt, name);
  if (!question.ok()) return question.status();
  absl::StatusOr<Answer> answer = Resolve(*question, deadline);
  if (!answer.ok()) return answer.status();
  return std::move(answer->txt);
}

absl::StatusOr<std::vector<MxRecord>> Resolver::LookupMx(absl::string_view name,
                                                         Deadline deadline) {
  absl::StatusOr<Question> question = QuestionOf(Question::Type::kMx, name);
  if (!question.ok()) return question.status();
  absl::StatusOr<Answer> answer = Resolve(*question, deadline);
  if (!answer.ok()) return answer.status();
  return std::move(answer->mx);
}

}  // namespace grove::net
