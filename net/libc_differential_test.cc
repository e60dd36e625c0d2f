#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/ares_resolver.h"
#include "grove/net/dnsmasq_test_util.h"
#include "grove/net/libc_resolver.h"

// The ares resolver beside libc's: the same names, files and servers, the same answers.
// Both read /etc/hosts and /etc/resolv.conf, and ask port 53; so that these are the
// test's own, it runs in a user, mount and network namespace, into which main() takes it.
namespace grove::net {
namespace {

void Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  ASSERT_TRUE(file.good()) << path;
}

// What a name comes to, in one line.
std::string Summary(const absl::StatusOr<HostAnswer>& host) {
  if (!host.ok()) {
    switch (LookupFailureOf(host.status())) {
      case LookupFailure::kNoSuchName:
        return "no such name";
      case LookupFailure::kNoData:
        return "no data";
      default:
        return "cannot be looked up";
    }
  }
  std::vector<std::string> ips;
  size_t v6 = 0;
  for (const Address& a : host->addresses) {
    ips.push_back(a.ip());
    v6 += a.is_v6();
  }
  // Servers deal out several of a family in turn.
  if (v6 > 1 || ips.size() - v6 > 1) std::sort(ips.begin(), ips.end());
  return absl::StrCat(absl::StrJoin(ips, " "), " as ",
                      absl::AsciiStrToLower(host->canonical_name));
}

class LibcDifferentialTest : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override {
    GreenletTestOptions options;
    options.clock = Clock::Real();
    return options;
  }

  void SetUp() override {
    server_ = std::make_unique<Dnsmasq>(
        std::vector<std::string>{
            "--address=/#/",
            "--host-record=both.test,192.0.2.1,2001:db8::1",
            "--host-record=v4.test,192.0.2.4",
            "--host-record=v6.test,2001:db8::6",
            "--host-record=many.test,192.0.2.10",
            "--host-record=many.test,192.0.2.11",
            "--host-record=db.corp.test,192.0.2.20",
            "--host-record=db.deep.corp.test,192.0.2.21",
            "--host-record=only.deep.corp.test,192.0.2.22",
            "--host-record=a.b.corp.test,192.0.2.23",
            "--host-record=a.b,192.0.2.24",
            "--host-record=top,192.0.2.25",
            "--host-record=v6only.corp.test,2001:db8::26",
            "--host-record=v6only.deep.corp.test,192.0.2.26",
            "--host-record=under_score.test,192.0.2.27",
            "--host-record=127.0.0.1.corp.test,192.0.2.28",
            "--host-record=in.both.test,192.0.2.66",
            "--cname=alias.test,both.test",
            "--cname=two.test,alias.test",
            "--txt-record=text.test,hello",
        },
        53);
  }
  void TearDown() override { server_ = nullptr; }

  // Whatever differs, by name and family.
  std::vector<std::string> Differences(const std::vector<std::string>& names) {
    AresResolver ares;
    BlockingResolver libc;
    std::vector<std::string> differences;
    for (const std::string& name : names) {
      for (const AddressFamily family :
           {AddressFamily::kAny, AddressFamily::kV4, AddressFamily::kV6}) {
        const auto a = ares.LookupHost(name, {.family = family});
        const auto l = FromLibc(libc, name, family);
        if (Summary(a) == Summary(l)) continue;
        // libc has several ways to say so.
        if (LookupFailureOf(a.status()) == LookupFailure::kBadName && !l.ok()) continue;
        differences.push_back(
            absl::StrCat("\"", name, "\" of family ", static_cast<int>(family), ": ",
                         Summary(a), " (", a.status().ToString(),
                         "), but libc: ", Summary(l), " (", l.status().ToString(), ")"));
      }
    }
    return differences;
  }

  // Without what Resolver answers by itself.
  static absl::StatusOr<HostAnswer> FromLibc(BlockingResolver& libc,
                                             const std::string& name,
                                             AddressFamily family) {
    absl::StatusOr<Answer> answer =
        libc.Resolve({Question::Type::kHost, name, family}, {});
    if (!answer.ok()) return answer.status();
    return answer->host;
  }

  std::unique_ptr<Dnsmasq> server_;
};

const char kHosts[] =
    "127.0.0.1 localhost\n"
    "::1 localhost ip6-localhost ip6-loopback\n"
    "# a comment\n"
    "192.0.2.50 host.test Host alias1 alias2 # another\n"
    "2001:db8::50 host.test\n"
    "192.0.2.51 second.test host.test\n"
    "192.0.2.52 dotted.name.test.\n"
    "2001:db8::53\tv6host.test\n"
    "192.0.2.54 in.both.test\n"
    "not.an.address bad.test\n"
    "192.0.2 short.test\n"
    "fe80::1%lo scoped.test\n";

const std::vector<std::string> kNames = {
    // of the hosts file
    "localhost",
    "LocalHost",
    "ip6-localhost",
    "host.test",
    "HOST.test",
    "host",
    "alias1",
    "alias2",
    "second.test",
    "dotted.name.test",
    "v6host.test",
    "in.both.test",
    "bad.test",
    "short.test",
    "scoped.test",
    "alias1.",
    "another",
    // of the server
    "both.test",
    "BOTH.Test",
    "both.test.",
    "v4.test",
    "v6.test",
    "many.test",
    "alias.test",
    "two.test",
    "text.test",
    "under_score.test",
    // with what is searched
    "db",
    "db.",
    "db.corp",
    "only",
    "a.b",
    "a.b.",
    "a",
    "top",
    "top.",
    "v6only",
    "db.corp.test",
    "v6only.corp.test",
    "both",
    // that nobody knows
    "nobody.test",
    "nobody",
    "nobody.",
    "no.such.name.anywhere",
    "x.invalid",
    // numbers
    "127.0.0.1",
    "127.1",
    "1",
    "0",
    "0x7f000001",
    "017700000001",
    "1.2.3",
    "1.2.3.4.5",
    "256.1.1.1",
    "4294967295",
    "4294967296",
    "127.0.0.1.",
    "::1",
    "::",
    "2001:db8::1",
    "2001:DB8:0:0::1",
    "::ffff:192.0.2.1",
    "fe80::1%lo",
    "fe80::1%1",
    "fe80::1%99",
    "fe80::1%nowhere",
    "::1%lo",
    "::1%1",
    "1:2",
    ":::",
    "12345::",
    // that are none
    "",
    ".",
    "..",
    "a..b",
    ".test",
    "a b",
    "a/b",
    "[::1]",
    "host:80",
    "-",
    "-a.test",
    std::string(63, 'a') + ".test",
    std::string(64, 'a') + ".test",
    std::string(250, 'a'),
    "a\\b",
    "a\tb",
};

GREENLET_TEST_F(LibcDifferentialTest, AnswersAsLibcDoes) {
  Write("/etc/hosts", kHosts);
  for (const std::string& conf : {
           std::string("nameserver 127.0.0.1\n"),
           std::string("nameserver 127.0.0.1\nsearch corp.test deep.corp.test\n"),
           std::string("nameserver 127.0.0.1\nsearch deep.corp.test corp.test.\n"
                       "options ndots:2\n"),
           std::string("domain corp.test\nnameserver 127.0.0.1\noptions ndots:0\n"),
           std::string("search one.test\nsearch corp.test\n# comment\n"
                       "; comment\noptions ndots:5 unknown:3\n"),
           std::string("search . corp.test\n"),
       }) {
    SCOPED_TRACE(conf);
    Write("/etc/resolv.conf", conf);
    EXPECT_EQ(absl::StrJoin(Differences(kNames), "\n"), "");
  }
}

GREENLET_TEST_F(LibcDifferentialTest, ReadsTheEnvironmentAsLibcDoes) {
  // libc has read its own when it was first used.
  setenv("LOCALDOMAIN", "corp.test deep.corp.test", 1);
  setenv("RES_OPTIONS", "ndots:3", 1);
  Write("/etc/hosts", kHosts);
  Write("/etc/resolv.conf", "nameserver 127.0.0.1\nsearch elsewhere.test\n");
  EXPECT_EQ(absl::StrJoin(Differences(kNames), "\n"), "");
  unsetenv("LOCALDOMAIN");
  unsetenv("RES_OPTIONS");
}

GREENLET_TEST_F(LibcDifferentialTest, LooksAddressesUpAsLibcDoes) {
  Write("/etc/hosts", kHosts);
  Write("/etc/resolv.conf", "nameserver 127.0.0.1\n");
  AresResolver ares;
  BlockingResolver libc;
  for (const char* ip : {"127.0.0.1", "::1", "192.0.2.50", "2001:db8::50", "192.0.2.1",
                         "192.0.2.99", "2001:db8::1", "::ffff:192.0.2.1"}) {
    const Address address = *Address::FromIp(ip, 80);
    const auto a = ares.LookupAddress(address);
    const auto l = libc.LookupAddress(address);
    ASSERT_EQ(a.ok(), l.ok()) << ip << ": " << a.status() << ", " << l.status();
    if (a.ok()) {
      EXPECT_EQ(a->front(), l->front()) << ip;
    } else {
      EXPECT_TRUE(absl::IsNotFound(a.status())) << a.status();
      EXPECT_TRUE(absl::IsNotFound(l.status())) << l.status();
    }
  }
}

// --- namespaces ---

void Require(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "the test's own network and /etc cannot be had: %s: %s\n", what,
          strerror(errno));
  exit(1);
}

// An interface that has ::1, 127.0.0.1 and 192.0.2.254/24, so that some addresses can be
// reached and others cannot.
void MakeNetwork() {
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  Require(fd >= 0, "socket");
  const auto configure = [fd](const char* name, unsigned long request, const char* ip) {
    ifreq r = {};
    strncpy(r.ifr_name, name, sizeof r.ifr_name - 1);
    if (ip != nullptr) {
      auto* address = reinterpret_cast<sockaddr_in*>(&r.ifr_addr);
      address->sin_family = AF_INET;
      inet_pton(AF_INET, ip, &address->sin_addr);
    } else {
      r.ifr_flags = IFF_UP | IFF_RUNNING;
    }
    Require(ioctl(fd, request, &r) == 0, name);
  };
  configure("lo", SIOCSIFFLAGS, nullptr);
  configure("lo:1", SIOCSIFADDR, "192.0.2.254");
  configure("lo:1", SIOCSIFNETMASK, "255.255.255.0");
  close(fd);
}

void MakeEtc() {
  Require(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "mount /");
  Require(mount("etc", "/etc", "tmpfs", 0, nullptr) == 0, "mount /etc");
  Write("/etc/nsswitch.conf", "hosts: files dns\n");
  Write("/etc/host.conf", "multi on\n");
  // dnsmasq wants to know of them.
  Write("/etc/passwd", "root:x:0:0::/:\nnobody:x:65534:65534::/:\n");
  Write("/etc/group", "root:x:0:\nnogroup:x:65534:\n");
}

}  // namespace
}  // namespace grove::net

int main(int argc, char** argv) {
  constexpr char kInside[] = "INSIDE_NAMESPACES";
  if (getenv(kInside) == nullptr) {
    setenv(kInside, "1", 1);
    std::vector<char*> args;
    for (const char* arg : {"unshare", "--user", "--map-root-user", "--mount", "--net",
                            "--", "/proc/self/exe"}) {
      args.push_back(const_cast<char*>(arg));
    }
    args[args.size() - 1] = realpath("/proc/self/exe", nullptr);
    args.insert(args.end(), argv + 1, argv + argc);
    args.push_back(nullptr);
    execvp("unshare", args.data());
    grove::net::Require(false, "exec of unshare(1)");
  }
  grove::net::MakeNetwork();
  grove::net::MakeEtc();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
