// Fetches a page, the pages of its site that it links to, and so on: each once, so many
// at a time.
//
//   bazel run //examples:recursive_crawler -- http://127.0.0.1:8000/
//
// Look at Crawl(): a page that is found is spawned into a Pool at once, by the greenlet
// of the page where it stands, and Join() waits for all, also those that are still to be
// found. The limit on what runs at a time is the pool's, so nobody keeps a list of work.
// A greenlet that spawns into its own full pool lends its place, and cannot wait for
// itself. The client keeps connections, and follows redirects.
//
// A line for each page: status, bytes, URL, or what went wrong and where the link stands.
// The exit status is 0 only if all were well. SIGINT and SIGTERM end it early.

#include <signal.h>
#include <stdio.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/signals.h"
#include "grove/green/pool.h"
#include "grove/net/http/client.h"
#include "grove/net/http/client_tls.h"
#include "grove/net/http/url.h"
#include "grove/net/tls_context.h"

ABSL_FLAG(int, at_once, 10, "pages that are fetched at the same time");
ABSL_FLAG(int, max_pages, 10'000, "no more than so many are fetched");
ABSL_FLAG(int, max_bytes, 8 << 20, "a longer page is an error");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(30), "for each page");

namespace {

using grove::Pool;
using grove::examples::ParseWords;
using grove::examples::Refuse;
using grove::http::ClientResponse;
using grove::http::HttpClient;
using grove::http::HttpClientOptions;
using grove::http::Url;

// What stands behind href= and src=, in quotes. Enough for an example: who needs all of
// HTML takes a parser of it.
std::vector<std::string> Links(absl::string_view html) {
  std::vector<std::string> links;
  for (const absl::string_view attribute : {"href=", "src="}) {
    for (size_t at = html.find(attribute); at != html.npos;
         at = html.find(attribute, at)) {
      at += attribute.size();
      if (at >= html.size() || (html[at] != '"' && html[at] != '\'')) continue;
      const size_t end = html.find(html[at], at + 1);
      if (end == html.npos) break;
      links.emplace_back(html.substr(at + 1, end - at - 1));
      at = end;
    }
  }
  return links;
}

class Crawler {
 public:
  Crawler(const Url& start, HttpClientOptions options)
      : start_(start), client_(std::move(options)), pool_(absl::GetFlag(FLAGS_at_once)) {}

  // Whether all pages were well.
  bool Crawl() {
    Find(start_, "the command line");
    pool_.Join();
    return failed_ == 0 && !stopped_;
  }
  void Stop() {
    stopped_ = true;
    pool_.Kill();
  }
  size_t fetched() const { return fetched_; }
  size_t failed() const { return failed_; }

 private:
  void Find(const Url& url, const std::string& from) {
    if (stopped_ || !url.SameOrigin(start_)) return;
    if (found_.size() >= static_cast<size_t>(absl::GetFlag(FLAGS_max_pages))) return;
    if (!found_.insert(url.target()).second) return;
    // Waits while the pool is full.
    pool_.Spawn([this, url, from] {
      // The page itself is gone by the time that this waits for a place.
      for (const Url& next : Fetch(url, from)) Find(next, url.ToString());
    });
  }

  // What the page links to, and where a redirect leads: looked at as any other.
  std::vector<Url> Fetch(const Url& url, const std::string& from) {
    std::vector<Url> next;
    absl::StatusOr<ClientResponse> response = client_.Get(url.ToString());
    const absl::StatusOr<std::string> body =
        response.ok() ? response->ReadAll(absl::GetFlag(FLAGS_max_bytes))
                      : absl::StatusOr<std::string>(response.status());
    if (!body.ok()) {
      ++failed_;
      printf("%s (in %s): %s\n", url.ToString().c_str(), from.c_str(),
             body.status().ToString().c_str());
      return next;
    }
    const auto location = response->headers().Get("Location");
    const bool redirect = response->status() / 100 == 3 && location.has_value();
    printf("%d %8zu %s", response->status(), body->size(), url.ToString().c_str());
    if (response->ok() || redirect) {
      ++fetched_;
      printf("\n");
    } else {
      ++failed_;
      printf(" (in %s)\n", from.c_str());
      return next;
    }
    std::vector<std::string> links;
    if (redirect) {
      links.emplace_back(*location);
    } else if (absl::StartsWith(response->headers().Get("Content-Type").value_or(""),
                                "text/html")) {
      links = Links(*body);
    }
    for (const std::string& link : links) {
      // What is no URL of http (mailto:) is passed over.
      const absl::StatusOr<Url> to = url.Resolve(link);
      if (!to.ok()) continue;
      next.push_back(*to);
      if (redirect && url.ToString() == start_.ToString()) start_ = *to;  // it is there
    }
    return next;
  }

  Url start_;
  HttpClient client_;
  std::set<std::string> found_;
  size_t fetched_ = 0;
  size_t failed_ = 0;
  bool stopped_ = false;
  Pool pool_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words = ParseWords(
      argc, argv,
      "Fetches the pages of a site, each once.\n"
      "  recursive_crawler [--at_once=10] [--max_pages=10000] [--max_bytes=8388608] "
      "[--timeout=30s] URL");
  if (words.size() != 1) Refuse("one URL is wanted (see --help)");
  const absl::StatusOr<Url> start = Url::Parse(words[0]);
  if (!start.ok()) Refuse(std::string(start.status().message()));
  if (absl::GetFlag(FLAGS_at_once) < 1) Refuse("--at_once: at least one is needed");
  if (absl::GetFlag(FLAGS_max_pages) < 1) Refuse("--max_pages: at least one is needed");
  if (absl::GetFlag(FLAGS_max_bytes) < 1) Refuse("--max_bytes: at least one is needed");

  HttpClientOptions options;
  options.timeouts.total = absl::GetFlag(FLAGS_timeout);
  options.max_connections = static_cast<size_t>(absl::GetFlag(FLAGS_at_once));
  options.max_idle = options.max_connections;
  options.proxy_from_environment = true;
  options.max_redirects = 0;  // they are found as links are
  const absl::StatusOr<grove::net::TlsClientContext> tls =
      grove::net::TlsClientContext::Make({.alpn = {"http/1.1"}});
  if (!tls.ok()) Refuse(std::string(tls.status().message()));
  options.secure = grove::http::SecureByTls(*tls);
  Crawler crawler(*start, std::move(options));
  const auto stop = [&](const grove::SignalInfo&) { crawler.Stop(); };
  const grove::SignalHandler on_int = grove::OnSignal(SIGINT, stop);
  const grove::SignalHandler on_term = grove::OnSignal(SIGTERM, stop);
  const bool good = crawler.Crawl();
  fprintf(stderr, "%zu pages fetched, %zu failed\n", crawler.fetched(), crawler.failed());
  return good ? 0 : 1;
}
