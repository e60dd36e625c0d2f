#ifndef GROVE_NET_HTTP_COMPRESS_H_
#define GROVE_NET_HTTP_COMPRESS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "grove/net/http/router.h"

namespace grove::http {

// CompressOptions
struct CompressOptions {
  // Content codings, the preferred one first where the client likes several alike: "br",
  // "gzip", and "deflate", which is the format of zlib. Anything else is a fatal error.
  std::vector<std::string> codings = {"br", "gzip", "deflate"};
  // A body that is known to be smaller goes out as it is.
  size_t min_size = 1024;
  // Content types whose bodies are compressed: whole ones, or beginnings that end with a
  // slash or with "+". "+json" and the like are endings. Event streams are not among
  // them: each that is open would hold its memory (see below). Where "text/event-stream"
  // is added, events still go out at once.
  std::vector<std::string> types = {"text/html",
                                    "text/plain",
                                    "text/css",
                                    "text/javascript",
                                    "text/markdown",
                                    "text/csv",
                                    "text/xml",
                                    "application/json",
                                    "application/xml",
                                    "application/wasm",
                                    "application/javascript",
                                    "image/svg+xml",
                                    "+json",
                                    "+xml"};
  // How hard it tries: 1 to 9, and 0 to 11.
  int gzip_level = 5;
  int brotli_quality = 4;
};

// Compress()
//
// Middleware that compresses the bodies of responses for the clients that ask for it, by
// the rules of RFC 9110 (12.5.3): weights, "*", and "identity;q=0", under which all is
// compressed that can be, or answered with 406 if the client takes nothing that there is.
//
//   router.Use(Compress());
//
// It goes piece by piece: what a handler flushes comes out at once. A body of up to 64
// KiB that is sent whole has a length; others are chunked, and end with the connection
// for clients of HTTP/1.0. Content-Encoding is set, "Vary: Accept-Encoding" added (also
// to what goes uncompressed to a client that does not ask), an ETag made a weak one,
// and Accept-Ranges removed. HEAD has the fields of GET, but for a length.
//
// Not compressed: what has a Content-Encoding already or "Cache-Control: no-transform",
// 206 and other parts, 204, 304, 1xx, what is small, and other types.
//
// While a response goes out it holds up to 320 KiB for gzip and deflate, and up to 2 MiB
// for br up to quality 5, whose window is 64 KiB so that it is no more; less for a body
// that is known to be small (ContentCoderMemory() says how much there is); the server's
// max_connections bounds how many there are. Large bodies let other greenlets run every
// 16 KiB.
//
// Secrets: a page that has both a secret and something that an attacker chooses tells its
// secret by its length, in spite of TLS (the attack BREACH). Say "Cache-Control:
// no-transform" there, or do not mix them.
Middleware Compress(CompressOptions options = {});

// Decompress()
//
// Middleware that decodes the bodies of requests with a Content-Encoding of gzip (or
// x-gzip), deflate or br, so that a handler reads what the client has meant. Without it
// bodies are passed on as they come. Other codings, and several, are 415, with
// Accept-Encoding. length() is then unknown; headers stay as they were sent.
//
// `limit` is that of the body once decoded: one that would be larger is cut off there,
// by kResourceExhausted (413). So a small bomb costs no more than a large body. What is
// malformed, ends too early or has something behind its end is kInvalidArgument (400).
Middleware Decompress(uint64_t limit = uint64_t{64} << 20);

// ContentCoderMemory()
//
// What all coders of this thread hold now, in bytes.
size_t ContentCoderMemory();

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_COMPRESS_H_
