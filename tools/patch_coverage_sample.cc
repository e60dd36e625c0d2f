// What patch_coverage_test looks at: a library with a call that is patched and one that
// is not.

#include <pwd.h>
#include <unistd.h>

extern "C" int Sample() { return getpwnam("root") != nullptr ? usleep(1) : -1; }
