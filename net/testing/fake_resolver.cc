#include "grove/net/testing/fake_resolver.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/green/sleep.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/host_name.h"

namespace grove::net {
namespace {

// Counts while it lives.
class Waiting {
 public:
  explicit Waiting(int* count) : count_(count) { ++*count_; }
  ~Waiting() { --*count_; }

 private:
  int* const count_;
};

std::string KeyOf(absl::string_view name) {
  if (name.size() > 1) absl::ConsumeSuffix(&name, ".");
  return absl::AsciiStrToLower(name);
}

absl::Status Failed(const Question& question, LookupFailure failure) {
  return LookupError(failure, absl::StrCat("look up ", question.ToString(), ": ",
                                           failure == LookupFailure::kNoData
                                               ? "nothing of that kind there"
                                               : "no such name",
                                           " (fake)"));
}

// Whether the answer has what the question is for.
bool Answers(const Answer& answer, Question::Type type) {
  switch (type) {
    case Question::Type::kHost:
      return !answer.host.addresses.empty();
    case Question::Type::kReverse:
      return !answer.names.empty();
    case Question::Type::kSrv:
      return !answer.srv.empty();
    case Question::Type::kTxt:
      return !answer.txt.empty();
    case Question::Type::kMx:
      return !answer.mx.empty();
  }
  return false;
}

}  // namespace

FakeResolver::Entry& FakeResolver::EntryOf(absl::string_view name) {
  return entries_[KeyOf(name)];
}

void FakeResolver::AddHost(absl::string_view name,
                           std::initializer_list<absl::string_view> ips,
                           absl::Duration ttl) {
  HostAnswer& host = EntryOf(name).answer.host;
  host.canonical_name = KeyOf(name);
  host.ttl = ttl;
  for (const absl::string_view ip : ips) {
    const std::optional<Address> address = net_internal::ParseNumericHost(ip);
    GROVE_CHECK(address.has_value(), "FakeResolver: \"", ip, "\" is no address");
    host.addresses.push_back(*address);
  }
}

void FakeResolver::AddName(absl::string_view ip, absl::string_view name) {
  const std::optional<Address> address = net_internal::ParseNumericHost(ip);
  GROVE_CHECK(address.has_value(), "FakeResolver: \"", ip, "\" is no address");
  EntryOf(address->ip()).answer.names.emplace_back(name);
}

void FakeResolver::AddSrv(absl::string_view name, SrvRecord record) {
  EntryOf(name).answer.srv.push_back(std::move(record));
}

void FakeResolver::AddTxt(absl::string_view name, absl::string_view text) {
  EntryOf(name).answer.txt.emplace_back(text);
}

void FakeResolver::AddMx(absl::string_view name, MxRecord record) {
  EntryOf(name).answer.mx.push_back(std::move(record));
}

void FakeResolver::Fail(absl::string_view name, absl::Status error,
                        AddressFamily family) {
  Entry& entry = EntryOf(name);
  if (family != AddressFamily::kV6) entry.v4.error = error;
  if (family != AddressFamily::kV4) entry.v6.error = error;
}

void FakeResolver::Delay(absl::string_view name, absl::Duration delay,
                         AddressFamily family) {
  Entry& entry = EntryOf(name);
  if (family != AddressFamily::kV6) entry.v4.delay = delay;
  if (family != AddressFamily::kV4) entry.v6.delay = delay;
}

int FakeResolver::asks(absl::string_view name) const {
  const auto entry = entries_.find(KeyOf(name));
  return entry == entries_.end() ? 0 : entry->second.asks;
}

absl::StatusOr<Answer> FakeResolver::Resolve(const Question& question,
                                             Deadline deadline) {
  ++asks_;
  const std::string key = KeyOf(question.name);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return Failed(question, LookupFailure::kNoSuchName);
  ++found->second.asks;
  const bool host = question.type == Question::Type::kHost;
  absl::Duration delay = absl::ZeroDuration();
  if (!host || question.family != AddressFamily::kV6) delay = found->second.v4.delay;
  if (!host || question.family != AddressFamily::kV4) {
    delay = std::max(delay, found->second.v6.delay);
  }
  if (delay > absl::ZeroDuration()) {
    Waiting waiting(&waiting_);
    const Deadline until = delay;
    SleepUntil(std::min(until, deadline));
    if (deadline < until) {
      return LookupError(
          LookupFailure::kTimeout,
          absl::StrCat("look up ", question.ToString(), ": no answer in time (fake)"));
    }
  }
  // What was said meanwhile counts, and the table may have moved.
  return AnswerNow(question, entries_[key]);
}

absl::StatusOr<Answer> FakeResolver::AnswerNow(const Question& question,
                                               const Entry& entry) {
  Answer answer = entry.answer;
  const bool host = question.type == Question::Type::kHost;
  const bool wants_v4 = !host || question.family != AddressFamily::kV6;
  const bool wants_v6 = !host || question.family != AddressFamily::kV4;
  std::vector<Address>& addresses = answer.host.addresses;
  const auto unwanted = [&](const Address& a) {
    const bool wanted = a.is_v6() ? wants_v6 : wants_v4;
    return !wanted || !(a.is_v6() ? entry.v6 : entry.v4).error.ok();
  };
  const bool fails =
      (!wants_v4 || !entry.v4.error.ok()) && (!wants_v6 || !entry.v6.error.ok());
  if (fails) return wants_v4 ? entry.v4.error : entry.v6.error;
  addresses.erase(std::remove_if(addresses.begin(), addresses.end(), unwanted),
                  addresses.end());
  if (!Answers(answer, question.type)) return Failed(question, LookupFailure::kNoData);
  return answer;
}

}  // namespace grove::net
