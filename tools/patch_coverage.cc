// Says what patching covers of programs and libraries, without loading them:
//
//   patch_coverage FILE...          what each imports that is patched, and what may block
//                                   and is not; exits with 1 if there is any of that
//   patch_coverage --page FILE...   docs/patch_coverage.md
//
// What is linked into a file statically, and what it looks up by dlsym(3), is not seen.

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grove/patch/coverage.h"

namespace {

using grove::patch::CallFamilies;
using grove::patch::CallFamily;
using grove::patch::Coverage;
using grove::patch::CoverageOf;

// A file in memory. What it says of itself is not believed: all that is read is looked
// for inside of it first.
class File {
 public:
  explicit File(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (fd < 0) return;
    if (fstat(fd, &about) == 0 && about.st_size > 0) {
      size_ = static_cast<size_t>(about.st_size);
      void* at = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
      if (at != MAP_FAILED) data_ = static_cast<const char*>(at);
    }
    close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (data_) munmap(const_cast<char*>(data_), size_);
  }

  bool valid() const { return data_ != nullptr; }
  // The n-th of the objects that begin at `offset`.
  template <typename T>
  std::optional<T> Get(uint64_t offset, uint64_t n = 0) const {
    T value;
    if (offset > size_ || n >= (size_ - offset) / sizeof value) return std::nullopt;
    memcpy(&value, data_ + offset + n * sizeof value, sizeof value);
    return value;
  }
  std::string String(uint64_t offset) const {
    if (offset >= size_) return "";
    return std::string(data_ + offset, strnlen(data_ + offset, size_ - offset));
  }

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// The functions that an ELF file imports; nothing if it is none for 64 bits, or is linked
// statically.
std::optional<std::set<std::string>> ImportsOf(const File& file) {
  const auto header = file.Get<Elf64_Ehdr>(0);
  if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64) {
    return std::nullopt;
  }
  for (uint64_t i = 0; i < header->e_shnum; ++i) {
    const auto section = file.Get<Elf64_Shdr>(header->e_shoff, i);
    if (!section || section->sh_type != SHT_DYNSYM) continue;
    const auto strings = file.Get<Elf64_Shdr>(header->e_shoff, section->sh_link);
    if (!strings) return std::nullopt;
    std::set<std::string> imports;
    for (uint64_t n = 0; n < section->sh_size / sizeof(Elf64_Sym); ++n) {
      const auto symbol = file.Get<Elf64_Sym>(section->sh_offset, n);
      if (!symbol) return std::nullopt;
      const unsigned char kind = ELF64_ST_TYPE(symbol->st_info);
      if (symbol->st_shndx == SHN_UNDEF &&
          (kind == STT_FUNC || kind == STT_NOTYPE || kind == STT_GNU_IFUNC)) {
        imports.insert(file.String(strings->sh_offset + symbol->st_name));
      }
    }
    return imports;
  }
  return std::nullopt;
}

struct Object {
  std::string path;
  std::vector<std::string> patched;
  std::vector<std::string> not_covered;
};

// False, having said why, if there is nothing to look at.
bool Look(const std::string& path, Object* object) {
  const File file(path);
  if (!file.valid()) {
    fprintf(stderr, "patch_coverage: %s: %s\n", path.c_str(), strerror(errno));
    return false;
  }
  const auto imports = ImportsOf(file);
  if (!imports) {
    fprintf(stderr, "patch_coverage: %s: not a dynamically linked ELF file of 64 bits\n",
            path.c_str());
    return false;
  }
  object->path = path;
  for (const std::string& name : *imports) {
    const Coverage coverage = CoverageOf(name);
    if (coverage == Coverage::kPatched) object->patched.push_back(name);
    if (coverage == Coverage::kNotCovered) object->not_covered.push_back(name);
  }
  return true;
}

std::string Names(const std::vector<std::string>& names) {
  if (names.empty()) return "none";
  return absl::StrCat("`", absl::StrJoin(names, "`, `"), "`");
}

void PrintFamilies(bool covered) {
  printf(covered ? "| calls | how they wait |\n" : "| calls | what to do instead |\n");
  printf("|---|---|\n");
  for (const CallFamily& f : CallFamilies()) {
    if (f.covered != covered) continue;
    printf("| **%s**: %s | %s |\n", f.title.c_str(), Names(f.calls).c_str(),
           f.how.c_str());
  }
}

void PrintPage() {
  printf(
      "# What patching covers\n\n"
      "Written by `bazel run //tools:patch_coverage -- --page FILE...`; "
      "[patching](patching.md) says\nwhat it means. Of programs and libraries of your "
      "own: "
      "`bazel run //tools:patch_coverage --\nFILE...`.\n\n"
      "## Covered\n\n"
      "With the names under which they are imported.\n\n");
  PrintFamilies(true);
  printf("\n## May block, and is not covered\n\n");
  PrintFamilies(false);
  printf(
      "\n## Libraries and programs\n\n"
      "Those of Debian 12. How many calls a file makes that are patched, and which it "
      "makes "
      "that are\nnot covered: mostly of its configuration.\n\n");
}

void PrintTable(const std::vector<Object>& objects) {
  printf("| file | patched calls | not covered |\n|---|---|---|\n");
  for (const Object& object : objects) {
    printf("| `%s` | %zu | %s |\n",
           object.path.substr(object.path.rfind('/') + 1).c_str(), object.patched.size(),
           Names(object.not_covered).c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool page = argc > 1 && strcmp(argv[1], "--page") == 0;
  if (argc < 2 || (!page && argv[1][0] == '-')) {
    fprintf(stderr, "usage: patch_coverage [--page] FILE...\n");
    return 2;
  }
  std::vector<Object> objects;
  bool all_found = true;
  bool all_covered = true;
  for (int i = page ? 2 : 1; i < argc; ++i) {
    Object object;
    if (!Look(argv[i], &object)) {
      all_found = false;
      continue;
    }
    all_covered = all_covered && object.not_covered.empty();
    objects.push_back(object);
  }
  if (page) {
    PrintPage();
    if (!objects.empty()) PrintTable(objects);
  } else {
    for (const Object& object : objects) {
      printf("%s\n  patched: %s\n  not covered: %s\n", object.path.c_str(),
             absl::StrJoin(object.patched, ", ").c_str(),
             object.not_covered.empty()
                 ? "none"
                 : absl::StrJoin(object.not_covered, ", ").c_str());
    }
  }
  return !all_found ? 2 : page || all_covered ? 0 : 1;
}
