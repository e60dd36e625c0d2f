#ifndef GROVE_NET_HTTP_STATIC_FILES_H_
#define GROVE_NET_HTTP_STATIC_FILES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/net/http/router.h"

namespace grove::http {

// StaticFilesOptions
struct StaticFilesOptions {
  // The folder whose files are served.
  std::string root;
  // The request's parameter with the path in it: of "/files/{path...}".
  std::string parameter = "path";
  // Served in place of a folder; none if empty.
  std::string index = "index.html";
  // Cache-Control, if not empty.
  std::string cache_control = {};
  // Names that begin with a dot are served too, and listed.
  bool hidden = false;
  // A folder without an index is answered with a page of its regular files and folders,
  // at most 10,000 of them.
  bool listing = false;
  // Files that were compressed beforehand, and lie beside the others: "a.js.br" and
  // "a.js.gz" for a.js are sent in its place to who takes them. Of "br" and "gzip", the
  // preferred one first; anything else is a fatal error. One that is older than its file
  // is not used.
  std::vector<std::string> precompressed = {};
  // Who asks for more ranges of a file at once gets the whole.
  size_t max_ranges = 16;
};

// StaticFiles()
//
// A handler that serves the files of a folder, for GET and HEAD, by sendfile(2) where
// that goes (see net/send_file.h); up to 16 KiB go out with the head, by one call.
//
//   router.Handle("GET", "/files/{path...}", StaticFiles({.root = "/srv/www"}));
//
// Nothing outside the folder is served: the kernel looks the path up below it
// (openat2(2), RESOLVE_BENEATH; where there is no such call, nothing that has ".." or
// passes a symbolic link), so neither ".." nor symbolic links lead out. What is no
// regular file, what may not be read, and hidden names are 404. Nothing is remembered of
// a file: one that is changed or exchanged is seen by the next request, and so is a link
// at the root.
//
// Content-Type is by the name's ending. ETag is the file's size and time, Last-Modified
// its time. If-Match, If-Unmodified-Since, If-None-Match and If-Modified-Since are
// answered with 412 or 304 (CheckPreconditions()), Range, under If-Range, with 206: one
// range by itself, several as multipart/byteranges. Ranges that overlap or almost touch
// are sent as one, so nobody gets more than the file; none of them within it is 416. A
// folder without its slash is redirected to (301).
//
// Blocks: as ResponseWriter. Names that the kernel has in its memory are looked up at
// once (RESOLVE_CACHED, Linux 5.12); others, and folders that are listed, on the pool
// "files".
Handler StaticFiles(StaticFilesOptions options);

// MimeTypeOf()
//
// By a name's ending: "text/html; charset=utf-8" of "a.html"; else
// "application/octet-stream".
absl::string_view MimeTypeOf(absl::string_view name);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_STATIC_FILES_H_
