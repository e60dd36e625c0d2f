#include "grove/net/libc_resolver.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/status.h"
#include "grove/net/internal/dns_message.h"

namespace grove::net {
namespace {

using net_internal::DnsReply;
using net_internal::RecordType;

absl::Status GaiError(int error, const Question& question) {
  const std::string what = absl::StrCat("look up ", question.ToString());
  const std::string message = absl::StrCat(what, ": ", gai_strerror(error));
  switch (error) {
    case EAI_NONAME:
      return LookupError(LookupFailure::kNoSuchName, message);
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
      return LookupError(LookupFailure::kNoData, message);
    case EAI_AGAIN:
    case EAI_FAIL:
      return LookupError(LookupFailure::kServerFailed, message);
    case EAI_SYSTEM:
      return ErrnoStatus(errno, what);
    case EAI_MEMORY:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

absl::StatusOr<Answer> HostOf(const Question& question) {
  addrinfo hints = {};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  // Half of an answer is a part of the whole: a name that /etc/hosts has in one family is
  // not asked for elsewhere in the other.
  hints.ai_family = question.one_of_both                    ? AF_UNSPEC
                    : question.family == AddressFamily::kV4 ? AF_INET
                    : question.family == AddressFamily::kV6 ? AF_INET6
                                                            : AF_UNSPEC;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(question.name.c_str(), nullptr, &hints, &list);
  if (error != 0) return GaiError(error, question);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &freeaddrinfo);
  Answer answer;
  HostAnswer& host = answer.host;
  host.canonical_name = question.name;
  if (list->ai_canonname != nullptr) host.canonical_name = list->ai_canonname;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    const auto address = Address::FromRaw(a->ai_addr, a->ai_addrlen);
    if (!address.ok()) continue;
    if (question.one_of_both &&
        address->is_v6() != (question.family == AddressFamily::kV6)) {
      continue;
    }
    std::vector<Address>& all = host.addresses;
    if (std::find(all.begin(), all.end(), *address) == all.end()) {
      all.push_back(*address);
    }
  }
  if (host.addresses.empty()) {
    return LookupError(LookupFailure::kNoData,
                       absl::StrCat("look up ", question.ToString(),
                                    ": there are addresses of the other family only"));
  }
  return answer;
}

absl::StatusOr<Answer> NameOf(const Question& question) {
  const absl::StatusOr<Address> address = Address::FromIp(question.name, 0);
  if (!address.ok()) return address.status();
  char name[NI_MAXHOST];
  const int error = getnameinfo(address->raw(), address->raw_size(), name, sizeof name,
                                nullptr, 0, NI_NAMEREQD);
  if (error != 0) return GaiError(error, question);
  Answer answer;
  answer.names = {name};
  return answer;
}

absl::StatusOr<Answer> RecordsOf(const Question& question, RecordType type) {
  struct __res_state state = {};
  if (res_ninit(&state) != 0) {
    return LookupError(LookupFailure::kUnreachable,
                       absl::StrCat("look up ", question.ToString(),
                                    ": libc's resolver cannot be set up"));
  }
  const std::unique_ptr<struct __res_state, void (*)(res_state)> owner(
      &state, [](res_state s) { res_nclose(s); });
  // So large is a message at most; on the heap, as stacks are small.
  std::string message(65536, '\0');
  const std::string name(absl::StripSuffix(question.name, "."));
  // Not res_nquery(), which keeps what a server says to a name that there is none of, and
  // with it how long that is certain, to itself.
  unsigned char query[NS_PACKETSZ];
  const int query_size =
      res_nmkquery(&state, QUERY, name.c_str(), C_IN, static_cast<int>(type), nullptr, 0,
                   nullptr, query, sizeof query);
  if (query_size < 0) {
    return LookupError(LookupFailure::kBadName, absl::StrCat("look up ", name));
  }
  const int size =
      res_nsend(&state, query, query_size,
                reinterpret_cast<unsigned char*>(message.data()), message.size());
  if (size < 0) {
    return LookupError(
        errno == ETIMEDOUT ? LookupFailure::kTimeout : LookupFailure::kUnreachable,
        absl::StrCat("look up ", question.ToString(), ": ", strerror(errno)));
  }
  message.resize(static_cast<size_t>(size));
  DnsReply reply = ParseReply(message, type);
  if (reply.failure == LookupFailure::kNone) return std::move(reply.answer);
  absl::Status failed = LookupError(
      reply.failure,
      absl::StrCat("look up ", question.ToString(), ": libc's server says ", reply.code));
  if (reply.negative_ttl == absl::InfiniteDuration()) return failed;
  return WithNegativeTtl(std::move(failed), reply.negative_ttl);
}

absl::StatusOr<Answer> AskLibc(const Question& question) {
  switch (question.type) {
    case Question::Type::kHost:
      return HostOf(question);
    case Question::Type::kReverse:
      return NameOf(question);
    case Question::Type::kSrv:
      return RecordsOf(question, RecordType::kSrv);
    case Question::Type::kTxt:
      return RecordsOf(question, RecordType::kTxt);
    case Question::Type::kMx:
      return RecordsOf(question, RecordType::kMx);
  }
  return absl::InternalError("no such question");
}

// What nobody waits for any more never begins, if it has not.
struct CancelAtEnd {
  ~CancelAtEnd() {
    if (task) task.Cancel();
  }
  PoolTask<absl::StatusOr<Answer>> task;
};

}  // namespace

absl::StatusOr<Answer> ThreadedResolver::Resolve(const Question& question,
                                                 Deadline deadline) {
  CancelAtEnd lookup;
  bool in_time = false;
  // A scope, since the pool's queue may be full.
  absl::StatusOr<Answer> answer = WithDeadline(deadline, [&]() -> absl::StatusOr<Answer> {
    lookup.task = pool_->Spawn([question] { return AskLibc(question); });
    absl::StatusOr<Answer> result = lookup.task.Get();
    in_time = true;
    return result;
  });
  if (in_time || !absl::IsDeadlineExceeded(answer.status())) return answer;
  return LookupError(
      LookupFailure::kTimeout,
      absl::StrCat("look up ", question.ToString(), ": libc has not answered in time"));
}

absl::StatusOr<Answer> BlockingResolver::Resolve(const Question& question,
                                                 Deadline /*deadline*/) {
  return AskLibc(question);
}

}  // namespace grove::net
