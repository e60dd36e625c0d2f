#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "grove/net/http/internal/file_lookup.h"

namespace grove::http::http_internal {
namespace {

constexpr size_t kMostListed = 10'000;

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(
      text,
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string EncodePercent(absl::string_view text) {
  std::string encoded;
  for (unsigned char c : text) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded.push_back(static_cast<char>(c));
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", c);
    }
  }
  return encoded;
}

// "name", or "name/" of a folder; empty for what is not listed.
std::string EntryOf(int fd, const dirent& entry, bool hidden) {
  const std::string name = entry.d_name;
  if (name == "." || name == ".." || (name[0] == '.' && !hidden)) return {};
  unsigned char type = entry.d_type;
  if (type == DT_UNKNOWN) {
    struct stat info;
    if (fstatat(fd, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return {};
    type = IFTODT(info.st_mode);
  }
  if (type == DT_DIR) return name + "/";
  return type == DT_REG ? name : std::string();
}

}  // namespace

std::string ListFolder(int fd, absl::string_view title, bool is_root, bool hidden) {
  std::vector<std::string> names;
  bool more = false;
  const int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (DIR* dir = own >= 0 ? fdopendir(own) : nullptr) {
    while (const dirent* entry = readdir(dir)) {
      std::string name = EntryOf(own, *entry, hidden);
      if (name.empty()) continue;
      more = names.size() == kMostListed;
      if (more) break;
      names.push_back(std::move(name));
    }
    closedir(dir);
  } else if (own >= 0) {
    close(own);
  }
  std::sort(names.begin(), names.end());
  const std::string escaped = EscapeHtml(title);
  std::string page = absl::StrCat("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>",
                                  escaped, "</title>\n<h1>", escaped, "</h1>\n<ul>\n");
  if (!is_root) page += "<li><a href=\"../\">../</a>\n";
  for (absl::string_view name : names) {
    const bool folder = name.back() == '/';
    const absl::string_view bare = folder ? name.substr(0, name.size() - 1) : name;
    // "./": a name with a colon is no scheme.
    absl::StrAppend(&page, "<li><a href=\"./", EncodePercent(bare), folder ? "/" : "",
                    "\">", EscapeHtml(name), "</a>\n");
  }
  absl::StrAppend(&page, "</ul>\n", more ? "<p>and more\n" : "");
  return page;
}

}  // namespace grove::http::http_internal
