// This repository defines @libev before grove_dependencies() does, so grove's loop has to
// be built on that one. Its define reaches everything that depends on grove.
#ifndef VENDORED_LIBEV
#error "grove was built on its own @libev, not on the host repository's"
#endif

#include <link.h>

#include <string>

#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "gtest/gtest.h"
#include "vendored_libev.h"

namespace {

TEST(HostWins, HeaderIsTheHosts) {
  EXPECT_STREQ(kLibevComesFrom, "the vendoring repository");
}

TEST(HostWins, LoopRunsWithoutTheDistributionsLibrary) {
  grove::HubScope scope;
  grove::Sleep(absl::Microseconds(1));
  EXPECT_FALSE(scope.hub().loop().backend().empty());
  // The host's is linked statically: no libev.so is loaded.
  const auto look = [](dl_phdr_info* object, size_t, void* found) {
    const std::string name = object->dlpi_name;
    if (name.find("/libev.so") != std::string::npos)
      *static_cast<std::string*>(found) = name;
    return 0;
  };
  std::string found;
  dl_iterate_phdr(look, &found);
  EXPECT_EQ(found, "");
}

}  // namespace
