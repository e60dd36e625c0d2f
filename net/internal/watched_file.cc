#include "grove/net/internal/watched_file.h"

#include <fstream>
#include <sstream>

namespace grove::net::net_internal {
namespace {

int64_t Nanos(const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; }

}  // namespace

std::string ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

FileStamp FileStamp::Of(const std::string& path) {
  struct stat s;
  if (stat(path.c_str(), &s) != 0) return {};
  return {true, s.st_dev, s.st_ino, s.st_size, Nanos(s.st_mtim), Nanos(s.st_ctim)};
}

}  // namespace grove::net::net_internal
