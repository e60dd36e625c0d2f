#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// Gives a fuzz target each file of a directory once, where there is no libFuzzer: what
// was found once stays found, with each compiler and sanitizer.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  const std::string directory = argv[1];
  DIR* const dir = opendir(directory.c_str());
  if (dir == nullptr) {
    perror(directory.c_str());
    return 1;
  }
  int files = 0;
  while (const dirent* entry = readdir(dir)) {
    const std::string path = directory + "/" + entry->d_name;
    struct stat s;
    if (stat(path.c_str(), &s) != 0 || !S_ISREG(s.st_mode)) continue;
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    printf("%s\n", path.c_str());
    // On the heap, and no larger than it is: so that a sanitizer sees what lies beyond.
    const std::string bytes = text.str();
    const std::vector<uint8_t> data(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(data.data(), data.size());
    ++files;
  }
  closedir(dir);
  if (files > 0) return 0;
  fprintf(stderr, "%s is empty\n", directory.c_str());
  return 1;
}
