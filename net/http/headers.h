#ifndef GROVE_NET_HTTP_HEADERS_H_
#define GROVE_NET_HTTP_HEADERS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// Header fields of requests and responses, and trailers. Names are compared without
// regard to case; the order is kept, and a name may be there several times.
namespace grove::http {

struct Field {
  absl::string_view name;
  absl::string_view value;
};

// HeaderView
//
// Fields that lie in somebody else's memory: those of a Request, until its handler
// returns.
//
//   absl::string_view agent = request.headers().Get("user-agent").value_or("none");
//   for (const Field& f : request.headers()) ...
class HeaderView {
 public:
  HeaderView() = default;
  explicit HeaderView(absl::Span<const Field> fields) : fields_(fields) {}

  // HeaderView::Get()
  //
  // The first of that name.
  std::optional<absl::string_view> Get(absl::string_view name) const;
  // HeaderView::GetAll()
  //
  // All of that name, in order.
  std::vector<absl::string_view> GetAll(absl::string_view name) const;
  bool Has(absl::string_view name) const { return Get(name).has_value(); }

  size_t size() const { return fields_.size(); }
  bool empty() const { return fields_.empty(); }
  const Field& operator[](size_t i) const { return fields_[i]; }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  absl::Span<const Field> fields_;
};

// HeaderMap
//
// Fields of its own: those of a response. Cleared and filled again it allocates nothing.
//
// What is not a field is not let in: a name that is no token, a value with a control
// character (so nobody puts a line's end and a field of his own into a response). It is
// left out, and status() says so from then on; a ResponseWriter refuses to send it.
class HeaderMap {
 public:
  // HeaderMap::Add(), HeaderMap::Set(), HeaderMap::Remove()
  //
  // Set() takes the place of all of that name. Remove() says how many there were.
  void Add(absl::string_view name, absl::string_view value);
  void Set(absl::string_view name, absl::string_view value);
  size_t Remove(absl::string_view name);
  void Clear();

  std::optional<absl::string_view> Get(absl::string_view name) const;
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  // Views are good until the next change.
  Field operator[](size_t i) const;
  // OK, or what was left out first: kInvalidArgument.
  const absl::Status& status() const { return status_; }

 private:
  // Where a field lies in text_.
  struct Entry {
    size_t name;
    size_t value;
    size_t end;
  };

  std::string text_;
  std::vector<Entry> entries_;
  absl::Status status_;
};

// IsToken(), IsFieldValue()
//
// What RFC 9110 (5.6.2, 5.5) allows for a name, and for a value.
bool IsToken(absl::string_view text);
bool IsFieldValue(absl::string_view text);

// HasListMember()
//
// Whether a comma-separated value has this member, without regard to case:
// HasListMember("keep-alive, Upgrade", "upgrade").
bool HasListMember(absl::string_view value, absl::string_view member);

// IsSecretField()
//
// Whether a field of this name carries what should not be in a log: Authorization,
// Cookie, Set-Cookie, Proxy-Authorization, and names with "token", "secret", "password",
// "api-key" or "session" in them.
bool IsSecretField(absl::string_view name);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_HEADERS_H_
