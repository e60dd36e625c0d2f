#include "grove/net/ares_resolver.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/own_hub.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/address_order.h"
#include "grove/net/internal/host_name.h"
#include "grove/net/internal/name_servers.h"
#include "grove/net/internal/resolver_files.h"
#include "grove/net/internal/watched_file.h"

namespace grove::net {
namespace {

using net_internal::DnsReply;
using net_internal::Exchange;
using net_internal::HostsFile;
using net_internal::NameServers;
using net_internal::RecordType;
using net_internal::ResolvConf;
using net_internal::WatchedFile;

// c-ares' own is longer (AresChannel), and must not come first.
constexpr absl::Duration kMaxTimeout = absl::Seconds(30);

ResolvConf ParseResolvConf(absl::string_view text) {
  char host_name[256] = "";
  gethostname(host_name, sizeof host_name - 1);
  return ResolvConf::Parse(text, getenv("LOCALDOMAIN"), getenv("RES_OPTIONS"), host_name);
}

bool IsLinkLocal(const Address& a) {
  return a.is_v6() && IN6_IS_ADDR_LINKLOCAL(
                          &reinterpret_cast<const sockaddr_in6*>(a.raw())->sin6_addr);
}

int Dots(absl::string_view name) {
  return static_cast<int>(std::count(name.begin(), name.end(), '.'));
}

// The names that are tried for one, in this order.
std::vector<std::string> Candidates(absl::string_view name, int ndots,
                                    const std::vector<std::string>& search) {
  if (absl::ConsumeSuffix(&name, ".")) return {std::string(name)};
  std::vector<std::string> names;
  const bool as_it_is_first = Dots(name) >= ndots;
  if (as_it_is_first) names.emplace_back(name);
  bool root = as_it_is_first;
  for (const std::string& domain : search) {
    if (domain.empty()) {
      if (!root) names.emplace_back(name);
      root = true;
      continue;
    }
    std::string full = absl::StrCat(name, ".", domain);
    // Of .onion nobody is asked (RFC 7686).
    if (net_internal::CanonicalHostName(full).ok() &&
        !absl::EndsWithIgnoreCase(full, ".onion")) {
      names.push_back(std::move(full));
    }
  }
  if (!root) names.emplace_back(name);
  return names;
}

// Where the name as it is stands, if that is at the end; else behind it.
size_t LastIfAsItIs(const std::vector<std::string>& names, absl::string_view name) {
  return names.back() == name ? names.size() - 1 : names.size();
}

// What two of these come to: any answer is one; failing that, what is not certain counts
// more than what is.
LookupFailure Worse(LookupFailure a, LookupFailure b) {
  const auto rank = [](LookupFailure f) {
    switch (f) {
      case LookupFailure::kNone:
        return 0;
      case LookupFailure::kTimeout:
      case LookupFailure::kServerFailed:
      case LookupFailure::kUnreachable:
      case LookupFailure::kMalformed:
        return 1;  // nobody knows what there is
      case LookupFailure::kNoData:
        return 2;
      default:
        return 3;
    }
  };
  return rank(a) <= rank(b) ? a : b;
}

bool IsCertain(LookupFailure failure) {
  return failure == LookupFailure::kNoSuchName || failure == LookupFailure::kNoData;
}

// What is known of one name.
struct Outcome {
  LookupFailure failure = LookupFailure::kNone;
  Answer answer;
  absl::Duration negative_ttl = absl::InfiniteDuration();
  std::string why;
};

Outcome OutcomeOf(std::vector<Exchange> exchanges) {
  Outcome outcome;
  std::vector<std::string> why;
  outcome.failure = exchanges[0].reply.failure;
  bool all_known = true;
  for (Exchange& e : exchanges) {
    DnsReply& reply = e.reply;
    outcome.failure = Worse(outcome.failure, reply.failure);
    all_known = all_known && e.answered;
    if (IsCertain(reply.failure)) {
      outcome.negative_ttl = std::min(outcome.negative_ttl, reply.negative_ttl);
      e.failures = {absl::StrCat(reply.code == "NOERROR" ? "no data" : "no such name",
                                 ", says ", e.server)};
    }
    for (std::string& failure : e.failures) {
      if (std::find(why.begin(), why.end(), failure) == why.end()) {
        why.push_back(std::move(failure));
      }
    }
    if (reply.failure != LookupFailure::kNone) continue;
    HostAnswer& host = outcome.answer.host;
    std::vector<Address> addresses = std::move(host.addresses);
    addresses.insert(addresses.end(), reply.answer.host.addresses.begin(),
                     reply.answer.host.addresses.end());
    const absl::Duration ttl = std::min(host.ttl, reply.answer.host.ttl);
    outcome.answer = std::move(reply.answer);
    host.addresses = std::move(addresses);
    host.ttl = ttl;
  }
  // Half an answer is good enough to go on with, but not to be remembered.
  if (!all_known) outcome.answer.host.ttl = absl::ZeroDuration();
  outcome.why = absl::StrJoin(why, "; ");
  return outcome;
}

std::vector<Exchange> ExchangesFor(const std::string& name, const Question& question) {
  switch (question.type) {
    case Question::Type::kHost:
      switch (question.family) {
        case AddressFamily::kV4:
          return {{name, RecordType::kA}};
        case AddressFamily::kV6:
          return {{name, RecordType::kAaaa}};
        case AddressFamily::kAny:
          return {{name, RecordType::kA}, {name, RecordType::kAaaa}};
      }
      break;
    case Question::Type::kReverse:
      return {{name, RecordType::kPtr}};
    case Question::Type::kSrv:
      return {{name, RecordType::kSrv}};
    case Question::Type::kTxt:
      return {{name, RecordType::kTxt}};
    case Question::Type::kMx:
      return {{name, RecordType::kMx}};
  }
  return {};
}

absl::Status ErrorOf(const Question& question, const Outcome& outcome,
                     absl::string_view details) {
  absl::Status status = LookupError(
      outcome.failure, absl::StrCat("look up ", question.ToString(), ": ", details));
  if (IsCertain(outcome.failure) && outcome.negative_ttl != absl::InfiniteDuration()) {
    status = WithNegativeTtl(std::move(status), outcome.negative_ttl);
  }
  return status;
}

}  // namespace

class AresResolver::Impl {
 public:
  explicit Impl(AresResolverOptions options)
      : options_(std::move(options)),
        hosts_(options_.hosts_file, &HostsFile::Parse),
        conf_(options_.resolv_conf, &ParseResolvConf) {
    const absl::Duration timeout = options_.timeout.value_or(kMaxTimeout);
    GROVE_CHECK(timeout > absl::ZeroDuration() && timeout <= kMaxTimeout,
                "an AresResolver with a timeout of ", absl::FormatDuration(timeout));
    GROVE_CHECK(options_.tries.value_or(1) > 0, "an AresResolver without tries");
  }

  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline);
  uint64_t Generation() {
    Refresh();
    return hosts_.generation() + conf_.generation();
  }
  std::string Describe() const {
    return servers_ ? absl::StrCat("ares (", servers_->Describe(), ")") : "ares";
  }
  uint64_t queries() const { return queries_ + (servers_ ? servers_->queries() : 0); }

 private:
  void Refresh();
  std::optional<absl::StatusOr<Answer>> FromHosts(const Question& question) const;
  std::vector<std::string> NamesFor(const Question& question) const;
  absl::StatusOr<Answer> AskServers(const Question& question, Deadline deadline);
  void Sort(std::vector<Address>* addresses) const;

  green_internal::OwnHub own_hub_;
  const AresResolverOptions options_;
  WatchedFile<HostsFile> hosts_;
  WatchedFile<ResolvConf> conf_;
  // What those say now.
  const HostsFile* known_hosts_ = nullptr;
  std::vector<std::string> search_;
  int ndots_ = 1;
  uint64_t conf_generation_ = 0;
  // Whoever is asking holds those that were in force when it began.
  std::shared_ptr<NameServers> servers_;
  uint64_t queries_ = 0;  // of earlier ones
};

void AresResolver::Impl::Refresh() {
  const MonotonicNanos now = ThisHub().Now();
  known_hosts_ = &hosts_.Get(now);
  const ResolvConf& conf = conf_.Get(now);
  if (conf_.generation() == conf_generation_) return;
  conf_generation_ = conf_.generation();
  search_ = options_.search.value_or(conf.search);
  ndots_ = options_.ndots.value_or(conf.ndots);
  NameServers::Options options = {
      .servers = options_.servers.empty() ? conf.servers : options_.servers,
      .timeout = options_.timeout.value_or(conf.timeout),
      .tries = options_.tries.value_or(conf.attempts),
      .rotate = options_.rotate.value_or(conf.rotate),
      .tcp = options_.tcp.value_or(conf.tcp),
  };
  std::vector<Address>& servers = options.servers;
  servers.erase(std::remove_if(servers.begin(), servers.end(), &IsLinkLocal),
                servers.end());
  queries_ = queries();
  servers_ = std::make_shared<NameServers>(std::move(options));
}

std::optional<absl::StatusOr<Answer>> AresResolver::Impl::FromHosts(
    const Question& question) const {
  Answer answer;
  if (question.type == Question::Type::kHost) {
    // As it is: what has a dot at its end is found only if the file has it so.
    std::optional<HostAnswer> host = known_hosts_->Find(question.name, question.family);
    if (!host && question.one_of_both &&
        known_hosts_->Find(question.name, AddressFamily::kAny)) {
      return LookupError(LookupFailure::kNoData,
                         absl::StrCat("look up ", question.ToString(),
                                      ": the hosts file has the other family only"));
    }
    if (!host) return std::nullopt;
    answer.host = *std::move(host);
    Sort(&answer.host.addresses);
    return answer;
  }
  if (question.type == Question::Type::kReverse) {
    answer.names = known_hosts_->NamesOf(question.name);
    if (answer.names.empty() &&
        net_internal::IsLoopback(*Address::FromIp(question.name, 0))) {
      answer.names = {"localhost"};
    }
    answer.host.ttl = absl::ZeroDuration();
    if (!answer.names.empty()) return answer;
  }
  return std::nullopt;
}

std::vector<std::string> AresResolver::Impl::NamesFor(const Question& question) const {
  switch (question.type) {
    case Question::Type::kHost:
      return Candidates(question.name, ndots_, search_);
    case Question::Type::kReverse:
      return {net_internal::ReverseName(*Address::FromIp(question.name, 0))};
    default:
      return {std::string(absl::StripSuffix(question.name, "."))};
  }
}

void AresResolver::Impl::Sort(std::vector<Address>* addresses) const {
  net_internal::SortAddresses(addresses);
  if (options_.prefer == AddressFamily::kAny) return;
  const bool v6 = options_.prefer == AddressFamily::kV6;
  std::stable_partition(addresses->begin(), addresses->end(),
                        [v6](const Address& a) { return a.is_v6() == v6; });
}

absl::StatusOr<Answer> AresResolver::Impl::Resolve(const Question& question,
                                                   Deadline deadline) {
  own_hub_.Check("a lookup by an AresResolver");
  Refresh();
  if (auto answer = FromHosts(question)) return *std::move(answer);
  if (servers_->options().servers.empty()) {
    return LookupError(LookupFailure::kUnreachable,
                       absl::StrCat("look up ", question.ToString(),
                                    ": there is no name server that can be asked"));
  }
  return AskServers(question, deadline);
}

// As libc's res_nsearch(): what is certainly not found under one name may be found under
// the next, and a server that says that it cannot does not end the search either. Silence
// does, but the name as it is is tried all the same. If nothing is found, what was said
// of the name as it is counts, if that came first; but what is not certain counts more
// than what is, unlike there: nobody may take it for an answer.
absl::StatusOr<Answer> AresResolver::Impl::AskServers(const Question& question,
                                                      Deadline deadline) {
  const std::shared_ptr<NameServers> servers = servers_;
  const std::vector<std::string> names = NamesFor(question);
  const bool as_it_is_first = Dots(question.name) >= ndots_;
  Outcome worst;
  worst.failure = LookupFailure::kNoSuchName;
  std::vector<std::string> details;
  for (size_t i = 0; i < names.size();) {
    std::vector<Exchange> exchanges = ExchangesFor(names[i], question);
    const bool in_time = servers->Ask(absl::MakeSpan(exchanges), deadline);
    Outcome outcome = OutcomeOf(std::move(exchanges));
    if (outcome.failure == LookupFailure::kNone) {
      Sort(&outcome.answer.host.addresses);
      return std::move(outcome.answer);
    }
    if (!in_time) outcome.failure = LookupFailure::kTimeout;
    details.push_back(names.size() == 1 ? outcome.why
                                        : absl::StrCat(names[i], ": ", outcome.why));
    if (i == 0 || !as_it_is_first || !IsCertain(outcome.failure)) {
      worst.failure = Worse(outcome.failure, worst.failure);
    }
    worst.negative_ttl = std::min(worst.negative_ttl, outcome.negative_ttl);
    if (!in_time || outcome.failure == LookupFailure::kUnreachable) break;
    const bool go_on =
        IsCertain(outcome.failure) || outcome.failure == LookupFailure::kServerFailed;
    i = go_on ? i + 1 : std::max(i + 1, LastIfAsItIs(names, question.name));
  }
  return ErrorOf(question, worst, absl::StrJoin(details, "; "));
}

AresResolver::AresResolver(AresResolverOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

AresResolver::~AresResolver() = default;

absl::StatusOr<Answer> AresResolver::Resolve(const Question& question,
                                             Deadline deadline) {
  return impl_->Resolve(question, deadline);
}

uint64_t AresResolver::Generation() { return impl_->Generation(); }

std::string AresResolver::Describe() const { return impl_->Describe(); }

uint64_t AresResolver::queries() const { return impl_->queries(); }

}  // namespace grove::net
