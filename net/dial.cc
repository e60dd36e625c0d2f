#include "grove/net/dial.h"

#include <algorithm>
#include <deque>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/describe_exception.h"
#include "grove/green/internal/lone_waiter.h"
#include "grove/green/interrupt.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"
#include "grove/green/wait.h"
#include "grove/net/default_resolver.h"
#include "grove/net/unix.h"

namespace grove::net {
namespace {

// A status of that code with what else is known of `like`: errno, and why a lookup
// failed.
absl::Status WithPayloadsOf(const absl::Status& like, absl::Status status) {
  like.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    status.SetPayload(url, payload);
  });
  return status;
}

// A race between connections to the addresses of one host. Lookups and attempts are
// greenlets, which say here what came of them; the one that dials does all the rest.
class Race {
 public:
  Race(absl::string_view host, uint16_t port, const DialOptions& options)
      : host_(host),
        port_(port),
        options_(options),
        resolver_(options.resolver ? *options.resolver : DefaultResolver()) {}
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;
  // All others are given up.
  ~Race() {
    Shield shield;
    KillAll(greenlets_);
  }

  absl::StatusOr<TcpStream> Run();

 private:
  enum Family { kV6, kV4, kFamilies };
  struct Lookup {
    bool asked = false;
    bool done = false;
    absl::Status error;
    std::deque<Address> untried;
    bool pending() const { return asked && !done; }
  };
  struct Attempt {
    Address address;
    bool done = false;
    absl::Status error;
  };
  class News final : public green_internal::LoneWaiter {
   public:
    explicit News(const Race* race) : race_(race) {}
    std::string Describe() const override { return race_->Name(); }

   private:
    const Race* const race_;
  };

  std::string Name() const { return absl::StrCat("dial ", host_, ":", port_); }
  void Ask(Family family);
  absl::StatusOr<HostAnswer> LookUp(Family family);
  Deadline NextStart() const;
  void StartNext();
  bool AnythingPending() const;
  void Tell() {
    told_ = true;
    news_.Wake();
  }
  // One line for each attempt and lookup that has come to nothing so far.
  std::vector<std::string> Failures() const;
  absl::Status Late() const;
  absl::Status Failed() const;

  const std::string host_;
  const uint16_t port_;
  const DialOptions options_;
  Resolver& resolver_;

  Lookup lookups_[kFamilies];
  Deadline ipv6_by_;              // when IPv4 waits for IPv6 no longer
  std::deque<Attempt> attempts_;  // in their order; greenlets refer to them
  Family last_family_ = kV4;      // of the last one
  Deadline next_beside_;          // when the next one begins though the last one goes on
  std::optional<TcpStream> winner_;
  bool told_ = false;
  News news_{this};
  std::vector<AnyGreenlet> greenlets_;
};

absl::StatusOr<TcpStream> Race::Run() {
  if (options_.family != AddressFamily::kV4) Ask(kV6);
  if (options_.family != AddressFamily::kV6) Ask(kV4);
  for (;;) {
    if (winner_) return *std::move(winner_);
    const Deadline next = NextStart();
    if (next.HasPassed()) {
      StartNext();
      continue;
    }
    if (next.infinite() && !AnythingPending()) return Failed();
    told_ = false;
    const bool news =
        news_.Await([this] { return told_; }, std::min(next, options_.deadline));
    if (!news && options_.deadline.HasPassed()) return Late();
  }
}

// What a resolver throws is why it failed: somebody waits for its answer.
absl::StatusOr<HostAnswer> Race::LookUp(Family family) {
  try {
    return resolver_.LookupHost(
        host_, {.family = family == kV6 ? AddressFamily::kV6 : AddressFamily::kV4,
                .one_of_both = options_.family == AddressFamily::kAny});
  } catch (const GreenletExit&) {
    throw;
  } catch (...) {
    return absl::UnknownError(
        absl::StrCat("lookup of ", host_, ": ",
                     green_internal::DescribeException(std::current_exception())));
  }
}

void Race::Ask(Family family) {
  Lookup& lookup = lookups_[family];
  lookup.asked = true;
  greenlets_.push_back(Spawn({.name = absl::StrCat("look up ", host_)}, [=, this] {
    Lookup& l = lookups_[family];
    const absl::StatusOr<HostAnswer> answer = LookUp(family);
    l.done = true;
    l.error = answer.status();
    if (answer.ok()) {
      for (const Address& a : answer->addresses) l.untried.push_back(a.WithPort(port_));
      if (family == kV4) ipv6_by_ = Deadline(options_.resolution_delay);
    }
    Tell();
  }));
}

// When the next attempt is to begin: infinite if there is nothing to try.
Deadline Race::NextStart() const {
  if (lookups_[kV6].untried.empty() && lookups_[kV4].untried.empty()) return {};
  if (attempts_.empty()) {
    return lookups_[kV6].pending() ? ipv6_by_ : Deadline::Passed();
  }
  return attempts_.back().done ? Deadline::Passed() : next_beside_;
}

void Race::StartNext() {
  const Family other = last_family_ == kV6 ? kV4 : kV6;
  const Family family = lookups_[other].untried.empty() ? last_family_ : other;
  Attempt& attempt = attempts_.emplace_back();
  attempt.address = lookups_[family].untried.front();
  lookups_[family].untried.pop_front();
  last_family_ = family;
  next_beside_ = Deadline(options_.attempt_delay);
  greenlets_.push_back(
      Spawn({.name = absl::StrCat("connect to ", attempt.address.ToString())},
            [this, &attempt] {
              absl::StatusOr<TcpStream> s =
                  TcpStream::Connect(attempt.address, {.source = options_.source});
              attempt.done = true;
              attempt.error = s.status();
              if (s.ok() && !winner_) winner_ = *std::move(s);
              Tell();
            }));
}

bool Race::AnythingPending() const {
  return lookups_[kV6].pending() || lookups_[kV4].pending() ||
         std::any_of(attempts_.begin(), attempts_.end(),
                     [](const Attempt& a) { return !a.done; });
}

std::vector<std::string> Race::Failures() const {
  std::vector<std::string> lines;
  for (const Attempt& a : attempts_) {
    const std::string address = a.address.ToString();
    absl::string_view why = "no answer yet";
    if (a.done) {
      why = a.error.message();
      absl::ConsumePrefix(&why, absl::StrCat("connect to ", address));
      absl::ConsumePrefix(&why, ": ");
    }
    lines.push_back(absl::StrCat(address, ": ", why));
  }
  for (const Lookup& l : lookups_) {
    if (l.pending()) {
      lines.push_back(absl::StrCat(&l == &lookups_[kV6] ? "IPv6" : "IPv4",
                                   " addresses: no answer yet"));
    } else if (l.asked && !l.error.ok()) {
      // That there are none of one family says nothing while there are of the other.
      if (absl::IsNotFound(l.error) && !attempts_.empty()) continue;
      const std::string line(l.error.message());
      if (std::find(lines.begin(), lines.end(), line) == lines.end()) {
        lines.push_back(line);
      }
    }
  }
  return lines;
}

absl::Status Race::Late() const {
  return absl::DeadlineExceededError(
      absl::StrCat(Name(), ": the deadline passed: ", absl::StrJoin(Failures(), "; ")));
}

absl::Status Race::Failed() const {
  std::vector<absl::Status> errors;
  for (const Attempt& a : attempts_) errors.push_back(a.error);
  if (attempts_.empty()) {
    // A name that has no IPv6 addresses is no reason if the question for IPv4 failed.
    for (const Lookup& l : lookups_) {
      if (l.asked && !absl::IsNotFound(l.error)) errors.push_back(l.error);
    }
    if (errors.empty()) {
      for (const Lookup& l : lookups_) {
        if (l.asked) errors.push_back(l.error);
      }
    }
  }
  const bool of_one_mind =
      std::all_of(errors.begin(), errors.end(),
                  [&](const absl::Status& s) { return s.code() == errors[0].code(); });
  return WithPayloadsOf(
      errors.back(),
      absl::Status(
          of_one_mind ? errors[0].code() : absl::StatusCode::kUnavailable,
          absl::StrCat(Name(), attempts_.empty() ? ": " : ": no address answered: ",
                       absl::StrJoin(Failures(), "; "))));
}

AddressFamily FamilyOf(const Address& a) {
  return a.is_v6() ? AddressFamily::kV6 : AddressFamily::kV4;
}

constexpr absl::string_view kHostAndPort = "HOST:PORT or [IP6]:PORT";
constexpr absl::string_view kAny = "HOST:PORT, [IP6]:PORT, unix:PATH or unix:@NAME";

absl::Status BadAddress(absl::string_view text, absl::string_view wanted,
                        absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("bad address \"", text, "\": ", why, " (wanted: ", wanted, ")"));
}

absl::StatusOr<HostAndPort> Split(absl::string_view text, absl::string_view wanted) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return BadAddress(text, wanted, "no port");
  absl::string_view host = text.substr(0, colon);
  const absl::string_view digits = text.substr(colon + 1);
  uint32_t port;
  // SimpleAtoi would take a sign and blanks.
  if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos ||
      !absl::SimpleAtoi(digits, &port) || port == 0 || port > 65535) {
    return BadAddress(text, wanted, "the port is not a number from 1 to 65535");
  }
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]") || host.find(':') == host.npos) {
      return BadAddress(text, wanted, "no IPv6 address in '[]'");
    }
  } else if (host.find(':') != host.npos) {
    return BadAddress(text, wanted, "an IPv6 address needs '[]'");
  }
  if (host.empty()) return BadAddress(text, wanted, "no host");
  return HostAndPort{std::string(host), static_cast<uint16_t>(port)};
}

}  // namespace

absl::StatusOr<TcpStream> Dial(absl::string_view host, uint16_t port,
                               DialOptions options) {
  if (!(options.source == Address())) {
    if (options.family == AddressFamily::kAny) options.family = FamilyOf(options.source);
    if (options.family != FamilyOf(options.source)) {
      return absl::InvalidArgumentError(
          absl::StrCat("dial ", host, ":", port, ": the source address ",
                       options.source.ToString(), " is not of the family asked for"));
    }
  }
  // In numbers there is nothing to race, nor to look up, and a scope is kept.
  if (const absl::StatusOr<Address> a = Address::FromIp(host, port);
      a.ok() &&
      (options.family == AddressFamily::kAny || options.family == FamilyOf(*a))) {
    return TcpStream::Connect(*a,
                              {.deadline = options.deadline, .source = options.source});
  }
  Race race(host, port, options);
  return race.Run();
}

absl::StatusOr<HostAndPort> ParseHostAndPort(absl::string_view text) {
  return Split(text, kHostAndPort);
}

absl::StatusOr<std::unique_ptr<Stream>> DialAny(absl::string_view address,
                                                DialOptions options) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    const absl::StatusOr<UnixAddress> a = UnixAddress::Parse(rest);
    if (!a.ok()) return BadAddress(address, kAny, a.status().message());
    absl::StatusOr<UnixStream> s = UnixStream::Connect(*a, options.deadline);
    if (!s.ok()) return std::move(s).status();
    return std::make_unique<UnixStream>(*std::move(s));
  }
  const absl::StatusOr<HostAndPort> to = Split(address, kAny);
  if (!to.ok()) return to.status();
  absl::StatusOr<TcpStream> s = Dial(to->host, to->port, options);
  if (!s.ok()) return std::move(s).status();
  return std::make_unique<TcpStream>(*std::move(s));
}

}  // namespace grove::net
