#ifndef GROVE_NET_HTTP_CONTENT_CODING_H_
#define GROVE_NET_HTTP_CONTENT_CODING_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/net/http/headers.h"

namespace grove::http {

// AcceptedCodings
//
// What a client says in Accept-Encoding (RFC 9110, 12.5.3): which content codings it
// takes, and how much it likes each, from 0 (not at all) to 1000. A member that is
// malformed counts for nothing; "x-gzip" is "gzip".
//
//   AcceptedCodings accepted(request.headers());
//   std::string best = accepted.Best({"br", "gzip"});  // "" for none of them
class AcceptedCodings {
 public:
  explicit AcceptedCodings(const HeaderView& headers);

  // AcceptedCodings::Weight()
  //
  // Of one coding. What is not named has that of "*", else 0; "identity" has that of "*"
  // only if that is 0, and is 1 (the least) if nothing is said of it.
  int Weight(absl::string_view coding) const;

  // AcceptedCodings::Best()
  //
  // The one of `ours` with the highest weight, the first of equals; "" if the client
  // takes none of them, or would rather have none.
  absl::string_view Best(absl::Span<const absl::string_view> ours) const;

  bool identity() const { return Weight("identity") > 0; }

 private:
  std::string value_;
};

// AddVary()
//
// Adds a name to Vary, if it is not there.
void AddVary(HeaderMap* headers, absl::string_view name);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_CONTENT_CODING_H_
