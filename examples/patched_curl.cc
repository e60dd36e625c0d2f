// Downloads URLs by the distribution's libcurl, all at once, on one thread.
//
//   bazel run //examples:patched_curl -- https://example.org/ http://example.com/
//
// curl_easy_perform() is a plain blocking call, and curl was not changed for this. Look
// at main(): after PatchAll() such calls stop the greenlet that makes them, so a greenlet
// for each URL is all there is to it. What libcurl was built with comes along: HTTP/2,
// proxies by the environment, compression, cookies.
//
// A line for each URL: status, bytes, and the version of HTTP; or what failed. The exit
// status is 0 only if all were answered with less than 400. --report says at the end
// which calls were patched, and how often they had to wait.

#include <curl/curl.h>
#include <stdio.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/pool.h"
#include "grove/patch/patch.h"
#include "grove/patch/report.h"

ABSL_FLAG(int, at_once, 100, "downloads at the same time");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(30), "for each download");
ABSL_FLAG(std::string, ca_file, "", "file with certificates to trust, in PEM");
ABSL_FLAG(bool, report, false, "say what was patched");

namespace {

using grove::examples::ParseWords;
using grove::examples::Refuse;

struct Free {
  void operator()(CURL* c) const { curl_easy_cleanup(c); }
};

size_t Count(char*, size_t size, size_t count, void* bytes) {
  *static_cast<uint64_t*>(bytes) += size * count;
  return size * count;
}

const char* VersionName(long version) {
  return version == CURL_HTTP_VERSION_1_0   ? "HTTP/1.0"
         : version == CURL_HTTP_VERSION_1_1 ? "HTTP/1.1"
         : version == CURL_HTTP_VERSION_2_0 ? "HTTP/2"
                                            : "another protocol";
}

// Whether it went well.
bool Download(const std::string& url) {
  const std::unique_ptr<CURL, Free> c(curl_easy_init());
  if (!c) return false;
  uint64_t bytes = 0;
  char why[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(c.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(c.get(), CURLOPT_WRITEFUNCTION, &Count);
  curl_easy_setopt(c.get(), CURLOPT_WRITEDATA, &bytes);
  curl_easy_setopt(c.get(), CURLOPT_ERRORBUFFER, why);
  curl_easy_setopt(
      c.get(), CURLOPT_TIMEOUT_MS,
      static_cast<long>(absl::ToInt64Milliseconds(absl::GetFlag(FLAGS_timeout))));
  // Its alarm signal is for a process, not for a greenlet.
  curl_easy_setopt(c.get(), CURLOPT_NOSIGNAL, 1L);
  if (const std::string ca = absl::GetFlag(FLAGS_ca_file); !ca.empty()) {
    curl_easy_setopt(c.get(), CURLOPT_CAINFO, ca.c_str());
  }
  if (const CURLcode code = curl_easy_perform(c.get()); code != CURLE_OK) {
    printf("%s: %s\n", url.c_str(), *why != '\0' ? why : curl_easy_strerror(code));
    return false;
  }
  long status = 0, version = 0;
  curl_easy_getinfo(c.get(), CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(c.get(), CURLINFO_HTTP_VERSION, &version);
  printf("%s: %ld, %llu bytes, %s\n", url.c_str(), status,
         static_cast<unsigned long long>(bytes), VersionName(version));
  return status < 400;
}

}  // namespace

int main(int argc, char** argv) {
  grove::patch::PatchAll();  // first, before there are other threads
  const std::vector<std::string> urls =
      ParseWords(argc, argv,
                 "Downloads URLs by libcurl, all at once.\n"
                 "  patched_curl [--at_once=100] [--timeout=30s] [--ca_file=FILE] "
                 "[--report] URL...");
  if (absl::GetFlag(FLAGS_at_once) < 1) Refuse("--at_once: at least one is needed");
  if (urls.empty()) Refuse("no URLs (see --help)");

  curl_global_init(CURL_GLOBAL_DEFAULT);
  bool all = true;
  grove::Pool pool(absl::GetFlag(FLAGS_at_once));
  for (const std::string& url : urls) {
    pool.Spawn([&] { all = Download(url) && all; });
  }
  pool.Join();
  if (absl::GetFlag(FLAGS_report)) {
    fputs(grove::patch::Report().ToString().c_str(), stderr);
  }
  curl_global_cleanup();
  return all ? 0 : 1;
}
