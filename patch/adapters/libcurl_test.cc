// The distribution's libcurl with a real nginx, HTTP/1.1 and HTTP/2, and with a server of
// this test's own that answers nobody before all have asked.

#include <arpa/inet.h>
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/patch/adapters/adapter_test.h"
#include "grove/patch/adapters/nginx_server.h"

namespace grove::patch {
namespace {

struct Free {
  void operator()(CURL* c) const { curl_easy_cleanup(c); }
};
using Handle = std::unique_ptr<CURL, Free>;

size_t Append(char* data, size_t size, size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

struct Got {
  CURLcode code;
  std::string body;
  long http_version = 0;
};

Got Download(const std::string& url, const std::string& authority = "") {
  const Handle c(curl_easy_init());
  Got got;
  curl_easy_setopt(c.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(c.get(), CURLOPT_WRITEFUNCTION, &Append);
  curl_easy_setopt(c.get(), CURLOPT_WRITEDATA, &got.body);
  // Its alarm signal is for the process, not for a greenlet.
  curl_easy_setopt(c.get(), CURLOPT_NOSIGNAL, 1L);
  if (!authority.empty()) {
    curl_easy_setopt(c.get(), CURLOPT_CAINFO, authority.c_str());
    curl_easy_setopt(c.get(), CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
  }
  got.code = curl_easy_perform(c.get());
  curl_easy_getinfo(c.get(), CURLINFO_HTTP_VERSION, &got.http_version);
  return got;
}

class LibcurlTest : public AdapterTest {
 protected:
  static void SetUpTestSuite() {
    AdapterTest::SetUpTestSuite();
    curl_global_init(CURL_GLOBAL_DEFAULT);
  }
};

// Each of the clients has connected, and waits, before the first is answered.
void AllDownloadAtOnce(const size_t clients_count) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(listen(listener, 4096), 0);
  const Greenlet<> server = Spawn([&] {
    std::vector<int> connections;
    while (connections.size() < clients_count) {
      connections.push_back(accept(listener, nullptr, nullptr));
    }
    for (const int fd : connections) {
      char request[4096];
      EXPECT_GT(read(fd, request, sizeof request), 0);
      const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
      EXPECT_EQ(write(fd, answer.data(), answer.size()),
                static_cast<ssize_t>(answer.size()));
      close(fd);
    }
  });
  const std::string url =
      "http://localhost:" + std::to_string(ntohs(address.sin_port)) + "/";
  std::vector<Greenlet<>> clients;
  for (size_t i = 0; i < clients_count; ++i) {
    clients.push_back(Spawn([&] {
      const Got got = Download(url);
      EXPECT_EQ(got.code, CURLE_OK) << curl_easy_strerror(got.code);
      EXPECT_EQ(got.body, "hello");
    }));
  }
  for (const auto& client : clients) client.Join();
  server.Join();
  close(listener);
}

GREENLET_TEST_F(LibcurlTest, AHundredDownloadAtOnce) { AllDownloadAtOnce(100); }

GREENLET_TEST_F(LibcurlTest, AThousandDownloadAtOnce) { AllDownloadAtOnce(1000); }

// Half of them by HTTP/1.1, half by HTTP/2 over TLS.
void AllDownloadFromNginx(int clients_count) {
  std::string body;
  for (int i = 0; i < 20'000; ++i) body += std::to_string(i) + "\n";
  const NginxServer server(body);
  ASSERT_TRUE(server.ready());
  std::vector<Greenlet<>> clients;
  for (int i = 0; i < clients_count; ++i) {
    clients.push_back(Spawn([&, i] {
      const bool http2 = i % 2 != 0;
      const Got got = http2 ? Download(server.secure_url(), server.certificate())
                            : Download(server.plain_url());
      EXPECT_EQ(got.code, CURLE_OK) << curl_easy_strerror(got.code);
      EXPECT_EQ(got.http_version, http2 ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_1_1);
      EXPECT_TRUE(got.body == body);
    }));
  }
  for (const auto& client : clients) client.Join();
}

GREENLET_TEST_F(LibcurlTest, AHundredThroughARealServer) { AllDownloadFromNginx(100); }

GREENLET_TEST_F(LibcurlTest, AThousandThroughARealServer) { AllDownloadFromNginx(1000); }

}  // namespace
}  // namespace grove::patch
