#include "grove/net/http/url.h"

#include <gtest/gtest.h>

namespace grove::http {
namespace {

TEST(Url, PartsAreWhatStandsThere) {
  const absl::StatusOr<Url> url = Url::Parse("HTTPS://Example.ORG:8443/a%20b/../c?x=1#f");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_TRUE(url->secure());
  EXPECT_EQ(url->host(), "example.org");
  EXPECT_EQ(url->port(), 8443);
  EXPECT_EQ(url->authority(), "example.org:8443");
  EXPECT_EQ(url->path(), "/a%20b/../c");  // as written
  EXPECT_EQ(url->target(), "/a%20b/../c?x=1");
  EXPECT_EQ(url->origin(), "https://example.org:8443");
  EXPECT_EQ(url->ForLog(), "https://example.org:8443/a%20b/../c?[3 bytes]");
}

TEST(Url, WhatIsLeftOutHasADefault) {
  for (const auto& [text, whole] :
       {std::pair{"http://a", "http://a/"},
        {"http://a:/", "http://a/"},
        {"http://a:80/", "http://a/"},
        {"https://a:443", "https://a/"},
        {"https://a:80", "https://a:80/"},
        {"http://a?x", "http://a/?x"},
        {"http://a#x?y", "http://a/"},
        {"http://a/?", "http://a/?"},
        {"http://a./", "http://a./"},
        {"http://192.0.2.1/", "http://192.0.2.1/"},
        {"http://[::1]/", "http://[::1]/"},
        {"http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"},
        {"http://a/b:c@d", "http://a/b:c@d"}}) {
    const absl::StatusOr<Url> url = Url::Parse(text);
    ASSERT_TRUE(url.ok()) << text << ": " << url.status();
    EXPECT_EQ(url->ToString(), whole);
  }
}

TEST(Url, WhatTwoReadersCouldTakeDifferentlyIsRefused) {
  for (const char* text : {"",
                           "a",
                           "/a",
                           "//a/",
                           "http:",
                           "http:/a",
                           "http:a",
                           "http://",
                           "http:///a",
                           "ftp://a/",
                           "file:///etc/passwd",
                           "http ://a/",
                           "http://a b/",
                           "http://a/ b",
                           "http://a/\t",
                           "http://a/\r\nX: y",
                           "http://a\\b/",
                           "http://a/\\b",
                           "http://a/\"",
                           "http://a/<b>",
                           "http://a/{b}",
                           "http://a/b|c",
                           "http://a/^",
                           "http://a/`",
                           "http://\xc3\xa4/",
                           "http://a/\xc3\xa4",
                           "http://a/%",
                           "http://a/%1",
                           "http://a/%zz",
                           "http://user@a/",
                           "http://user:pw@a/",
                           "http://@a/",
                           "http://a@b@c/",
                           "http://a%2fb/",
                           "http://a%00/",
                           "http://a:0/",
                           "http://a:65536/",
                           "http://a:-1/",
                           "http://a:+1/",
                           "http://a:1a/",
                           "http://a:000080/",
                           "http://a:b:1/",
                           "http://.a/",
                           "http://a..b/",
                           "http://./",
                           "http://127.1/",
                           "http://0x7f000001/",
                           "http://2130706433/",
                           "http://1.2.3.4.5/",
                           "http://1.2.3.256/",
                           "http://a.0x1/",
                           "http://[::1/",
                           "http://::1/",
                           "http://[::1]a/",
                           "http://[1.2.3.4]/",
                           "http://[fe80::1%25eth0]/",
                           "http://[fe80::1%eth0]/",
                           "http://[v1.a]/",
                           "http://[]/",
                           "http://a/[b]",
                           "http://a/?[b]",
                           "http://a,b/",
                           "http://a;b/"}) {
    EXPECT_FALSE(Url::Parse(text).ok()) << text;
  }
  EXPECT_FALSE(Url::Parse("http://a/" + std::string(64 << 10, 'a')).ok());
  EXPECT_FALSE(Url::Parse("http://" + std::string(255, 'a') + "/").ok());
}

TEST(Url, ErrorsDoNotQuoteSecrets) {
  EXPECT_EQ(Url::Parse("http://joe:hunter2@a/").status().message(),
            "no URL: it has userinfo");
}

// RFC 3986, 5.4.1 and 5.4.2, with http.
TEST(Url, ReferencesAreResolvedAsTheRfcSays) {
  const Url base = *Url::Parse("http://a/b/c/d;p?q");
  for (const auto& [reference, whole] : {std::pair{"g", "http://a/b/c/g"},
                                         {"./g", "http://a/b/c/g"},
                                         {"g/", "http://a/b/c/g/"},
                                         {"/g", "http://a/g"},
                                         {"//g", "http://g/"},
                                         {"?y", "http://a/b/c/d;p?y"},
                                         {"g?y", "http://a/b/c/g?y"},
                                         {"#s", "http://a/b/c/d;p?q"},
                                         {"g#s", "http://a/b/c/g"},
                                         {";x", "http://a/b/c/;x"},
                                         {"g;x", "http://a/b/c/g;x"},
                                         {"", "http://a/b/c/d;p?q"},
                                         {".", "http://a/b/c/"},
                                         {"./", "http://a/b/c/"},
                                         {"..", "http://a/b/"},
                                         {"../", "http://a/b/"},
                                         {"../g", "http://a/b/g"},
                                         {"../..", "http://a/"},
                                         {"../../", "http://a/"},
                                         {"../../g", "http://a/g"},
                                         {"../../../g", "http://a/g"},
                                         {"../../../../g", "http://a/g"},
                                         {"/./g", "http://a/g"},
                                         {"/../g", "http://a/g"},
                                         {"g.", "http://a/b/c/g."},
                                         {".g", "http://a/b/c/.g"},
                                         {"g..", "http://a/b/c/g.."},
                                         {"..g", "http://a/b/c/..g"},
                                         {"./../g", "http://a/b/g"},
                                         {"./g/.", "http://a/b/c/g/"},
                                         {"g/./h", "http://a/b/c/g/h"},
                                         {"g/../h", "http://a/b/c/h"},
                                         {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
                                         {"g;x=1/../y", "http://a/b/c/y"},
                                         {"g?y/./x", "http://a/b/c/g?y/./x"},
                                         {"https://z", "https://z/"},
                                         {"a b", "http://a/b/c/a%20b"},
                                         {"\xc3\xa4", "http://a/b/c/%c3%a4"}}) {
    const absl::StatusOr<Url> url = base.Resolve(reference);
    ASSERT_TRUE(url.ok()) << reference << ": " << url.status();
    EXPECT_EQ(url->ToString(), whole) << reference;
  }
  for (const char* reference : {"http:g", "//user@g", "mailto:x", "javascript:1", "//a:b",
                                "g\r\nX: y", "g\\h", "[x]"}) {
    EXPECT_FALSE(base.Resolve(reference).ok()) << reference;
  }
}

}  // namespace
}  // namespace grove::http
