#include "grove/net/http/headers.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grove::http {
namespace {

constexpr std::array<bool, 256> MakeTokenTable() {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[c] = true;
  for (int c = 'A'; c <= 'Z'; ++c) table[c] = true;
  for (char c :
       {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'}) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}
constexpr std::array<bool, 256> kToken = MakeTokenTable();

}  // namespace

bool IsToken(absl::string_view text) {
  for (unsigned char c : text) {
    if (!kToken[c]) return false;
  }
  return !text.empty();
}

bool IsFieldValue(absl::string_view text) {
  // Without a branch for each byte, so that it is done many bytes at a time.
  unsigned bad = 0;
  for (unsigned char c : text) bad |= ((c < 0x20) & (c != '\t')) | (c == 0x7f);
  return bad == 0;
}

bool HasListMember(absl::string_view value, absl::string_view member) {
  while (!value.empty()) {
    const size_t comma = value.find(',');
    if (absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(value.substr(0, comma)),
                               member)) {
      return true;
    }
    if (comma == value.npos) break;
    value.remove_prefix(comma + 1);
  }
  return false;
}

bool IsSecretField(absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (absl::string_view secret : {"authorization", "cookie", "token", "secret",
                                   "password", "api-key", "apikey", "session"}) {
    if (absl::StrContains(lower, secret)) return true;
  }
  return false;
}

std::optional<absl::string_view> HeaderView::Get(absl::string_view name) const {
  for (const Field& f : fields_) {
    if (absl::EqualsIgnoreCase(f.name, name)) return f.value;
  }
  return std::nullopt;
}

std::vector<absl::string_view> HeaderView::GetAll(absl::string_view name) const {
  std::vector<absl::string_view> all;
  for (const Field& f : fields_) {
    if (absl::EqualsIgnoreCase(f.name, name)) all.push_back(f.value);
  }
  return all;
}

void HeaderMap::Add(absl::string_view name, absl::string_view value) {
  if (!IsToken(name) || !IsFieldValue(value)) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(absl::StrCat(
          "no header field: '", absl::CHexEscape(name.substr(0, 100)),
          IsToken(name) ? "' with a value that has a control character" : "'"));
    }
    return;
  }
  const size_t begin = text_.size();
  absl::StrAppend(&text_, name, absl::StripAsciiWhitespace(value));
  entries_.push_back({begin, begin + name.size(), text_.size()});
}

void HeaderMap::Set(absl::string_view name, absl::string_view value) {
  if (!entries_.empty()) Remove(name);
  Add(name, value);
}

size_t HeaderMap::Remove(absl::string_view name) {
  // The text stays until Clear(): nothing points to it.
  return std::erase_if(entries_, [&](const Entry& e) {
    return absl::EqualsIgnoreCase(
        absl::string_view(text_).substr(e.name, e.value - e.name), name);
  });
}

void HeaderMap::Clear() {
  text_.clear();
  entries_.clear();
  if (!status_.ok()) status_ = absl::OkStatus();
}

Field HeaderMap::operator[](size_t i) const {
  const Entry& e = entries_[i];
  const absl::string_view text(text_);
  return {text.substr(e.name, e.value - e.name), text.substr(e.value, e.end - e.value)};
}

std::optional<absl::string_view> HeaderMap::Get(absl::string_view name) const {
  for (size_t i = 0; i < size(); ++i) {
    const Field f = (*this)[i];
    if (absl::EqualsIgnoreCase(f.name, name)) return f.value;
  }
  return std::nullopt;
}

}  // namespace grove::http
