#ifndef GROVE_NET_TESTING_FAKE_RESOLVER_H_
#define GROVE_NET_TESTING_FAKE_RESOLVER_H_

#include <initializer_list>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/net/resolver.h"

namespace grove::net {

// FakeResolver
//
// A resolver for tests: answers from a table, after a time on the hub's clock, and counts
// what it is asked.
//
//   auto fake = std::make_unique<FakeResolver>();
//   fake->AddHost("db.example", {"192.0.2.1", "2001:db8::1"});
//   fake->Fail("down.example", LookupError(LookupFailure::kServerFailed, "down"));
//   fake->Delay("db.example", absl::Seconds(1), AddressFamily::kV6);
//   SetDefaultResolver(std::move(fake));
//
// What is not in the table is kNoSuchName; a name that is there, but not with what was
// asked for, is kNoData. Names are compared without case, and without a dot at the end.
// What the functions of Resolver answer by themselves does not get here.
//
// The last that was said of a name counts. Something said of a family concerns questions
// for exactly that one; a question for both waits for both, as with servers, and fails
// only if both do.
class FakeResolver final : public Resolver {
 public:
  // Adds addresses ("192.0.2.1") to a host; one that is none is a fatal error.
  void AddHost(absl::string_view name, std::initializer_list<absl::string_view> ips,
               absl::Duration ttl = absl::Minutes(5));
  void AddName(absl::string_view ip, absl::string_view name);
  void AddSrv(absl::string_view name, SrvRecord record);
  void AddTxt(absl::string_view name, absl::string_view text);
  void AddMx(absl::string_view name, MxRecord record);

  // FakeResolver::Fail()
  //
  // Questions about the name, or the address, end by this error; OK: no more.
  void Fail(absl::string_view name, absl::Status error,
            AddressFamily family = AddressFamily::kAny);

  // FakeResolver::Delay()
  //
  // They take so long; absl::InfiniteDuration(): until a deadline, or a kill.
  void Delay(absl::string_view name, absl::Duration delay,
             AddressFamily family = AddressFamily::kAny);

  // FakeResolver::asks()
  //
  // How many questions came: about that name, or in all; and how many wait now.
  int asks(absl::string_view name) const;
  int asks() const { return asks_; }
  int waiting() const { return waiting_; }

  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) override;
  std::string Describe() const override { return "fake"; }

 private:
  struct ByFamily {
    absl::Status error;
    absl::Duration delay = absl::ZeroDuration();
  };
  struct Entry {
    Answer answer;
    ByFamily v4, v6;
    int asks = 0;
  };

  Entry& EntryOf(absl::string_view name);
  static absl::StatusOr<Answer> AnswerNow(const Question& question, const Entry& entry);

  std::map<std::string, Entry> entries_;
  int asks_ = 0;
  int waiting_ = 0;
};

}  // namespace grove::net

#endif  // GROVE_NET_TESTING_FAKE_RESOLVER_H_
