#ifndef GROVE_NET_HTTP_STATIC_FILES_H_
#define GROVE_NET_HTTP_STATIC_FILES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "grove/net/http/router.h"

namespace grove::http {

// StaticFilesOptions
struct StaticFilesOptions {
  // The folder whose files are served.
  std::string root;
  // The request's parameter with the path in it: of "/files/{path...}".
  std::string parameter = "path";
  // Served in place of a folder; none if empty. Folders are not listed.
  std::string index = "index.html";
  // Cache-Control, if not empty.
  std::string cache_control = {};
  // Names that begin with a dot are served too.
  bool hidden = false;
};

// StaticFiles()
//
// A handler that serves the files of a folder, for GET and HEAD, by sendfile(2) where
// that goes (see net/send_file.h).
//
//   router.Handle("GET", "/files/{path...}", StaticFiles({.root = "/srv/www"}));
//
// Nothing outside the folder is served: the kernel looks the path up below it
// (openat2(2), RESOLVE_BENEATH; where there is no such call, nothing that has ".." or
// passes a symbolic link), so neither ".." nor symbolic links lead out. What is no
// regular file, what may not be read, and hidden names are 404.
//
// Content-Type is by the name's ending. ETag is the file's size and time, Last-Modified
// its time: If-None-Match and If-Modified-Since are answered with 304, and one Range with
// 206 (or 416), under If-Range; several ranges with the whole. A folder without its slash
// is redirected to (301).
//
// Blocks: as ResponseWriter; looking up and opening are on the pool "files".
Handler StaticFiles(StaticFilesOptions options);

// MimeTypeOf()
//
// By a name's ending: "text/html; charset=utf-8" of "a.html"; else
// "application/octet-stream".
absl::string_view MimeTypeOf(absl::string_view name);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_STATIC_FILES_H_
