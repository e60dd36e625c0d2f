// Runs a program with all that blocks made cooperative, and its threads turned into
// greenlets of one hub:
//
//   run [--verbose] [--[no-]MODULE...] [--report] PROGRAM [ARGS...]
//
// Its output, its exit status and what signals do to it are the program's own, since this
// process becomes it. MODULE is os, thread, time, socket, dns, select, subprocess,
// signal or stdio; with --MODULE only those that are named are patched.

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

namespace {

constexpr const char* kModules[] = {"os",     "thread",     "time",   "socket", "dns",
                                    "select", "subprocess", "signal", "stdio"};
// As of env(1) and its like: this failed; the program is no use; there is none.
constexpr int kFailed = 125, kCannotRun = 126, kNotFound = 127;

[[noreturn]] void Usage() {
  fprintf(stderr,
          "usage: run [--verbose] [--[no-]MODULE...] [--report] PROGRAM [ARGS...]\n"
          "  runs PROGRAM with its blocking calls patched and its threads as greenlets\n"
          "  --verbose    says what was patched\n"
          "  --report     says in the end what was called how often\n"
          "  --MODULE     patches only the modules that are named\n"
          "  --no-MODULE  patches all but those\n"
          "  modules:    ");
  for (const char* module : kModules) fprintf(stderr, " %s", module);
  fputc('\n', stderr);
  exit(kFailed);
}

// As execvp(3) finds it.
std::string FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = getenv("PATH");
  std::string rest = path ? path : "/usr/bin:/bin";
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = rest.substr(0, end) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    rest.erase(0, end + 1);
  }
  return "";
}

// What a script names after "#!": an interpreter, and what the kernel makes one argument
// (execve(2)).
struct Interpreter {
  std::string path;
  std::string argument;
};
Interpreter InterpreterOf(int script) {
  char line[PATH_MAX];
  const ssize_t size = pread(script, line, sizeof line, 2);
  std::string text(line, size > 0 ? static_cast<size_t>(size) : 0);
  text.resize(std::min(text.find('\n'), text.size()));
  const auto trim = [&] {
    text.erase(0, std::min(text.find_first_not_of(" \t"), text.size()));
    text.resize(text.find_last_not_of(" \t") + 1);
  };
  trim();
  Interpreter interpreter;
  interpreter.path = text.substr(0, text.find_first_of(" \t"));
  text.erase(0, interpreter.path.size());
  trim();
  interpreter.argument = text;
  return interpreter;
}

// A program, and what is to be executed for it.
struct Found {
  std::string path;
  std::vector<std::string> arguments;  // the program's own first, its name
  std::string why_not;  // why the dynamic linker would not load anything into it
};

std::string StaticOrEmpty(int fd) {
  Elf64_Ehdr header = {};
  if (pread(fd, &header, sizeof header, 0) != sizeof header ||
      memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return "";  // exec will tell
  }
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const off_t at = static_cast<off_t>(header.e_phoff) + i * header.e_phentsize;
    if (pread(fd, &segment, sizeof segment, at) != sizeof segment) break;
    if (segment.p_type == PT_INTERP) return "";
  }
  return "it is linked statically: nothing can be loaded into it";
}

// `#!/usr/bin/env python3` would have env patched, and not what it starts: that is
// started here, as env(1) would.
bool SkipEnv(const Interpreter& interpreter, Found* found) {
  if (interpreter.path.substr(interpreter.path.rfind('/') + 1) != "env") return false;
  std::vector<std::string> words;
  std::string rest = interpreter.argument;
  const bool split = rest.rfind("-S", 0) == 0;
  if (split) rest.erase(0, 2);
  while (!rest.empty()) {
    const size_t begin = rest.find_first_not_of(" \t");
    if (begin == rest.npos) break;
    const size_t end = split ? rest.find_first_of(" \t", begin) : rest.npos;
    words.push_back(rest.substr(begin, end - begin));
    rest.erase(0, end);
  }
  if (words.empty() || words[0][0] == '-' || words[0].find('=') != std::string::npos ||
      (split && interpreter.argument.find_first_of("'\"\\$#") != std::string::npos)) {
    return false;  // what env does beside that is its own business
  }
  const std::string script = found->path;
  if (access(script.c_str(), X_OK) != 0) return false;  // exec will tell
  const std::vector<std::string> given = found->arguments;
  found->path = FindProgram(words[0]);
  if (found->path.empty()) {
    found->why_not = words[0] + ": not found";
    found->path = script;
    return true;
  }
  found->arguments = words;
  found->arguments.push_back(script);
  found->arguments.insert(found->arguments.end(), given.begin() + 1, given.end());
  return true;
}

// Follows scripts to what runs them, as the kernel does.
void Look(const std::string& path, int depth, Found* found) {
  const auto refuse = [&](const std::string& why) {
    found->why_not = (path == found->path ? "" : path + ": ") + why;
  };
  struct stat about;
  if (stat(path.c_str(), &about) != 0) return refuse(strerror(errno));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char begin[2] = {};
  if (fd >= 0 && pread(fd, begin, 2, 0) == 2 && begin[0] == '#' && begin[1] == '!') {
    const Interpreter interpreter = InterpreterOf(fd);
    close(fd);
    if (depth == 5) return refuse(strerror(ELOOP));
    if (interpreter.path.empty()) return;  // exec will tell
    if (depth == 0 && SkipEnv(interpreter, found)) {
      if (found->why_not.empty()) Look(found->path, depth + 1, found);
      return;
    }
    return Look(interpreter.path, depth + 1, found);
  }
  std::string why = fd >= 0 ? StaticOrEmpty(fd) : "";
  if (fd >= 0) close(fd);
  // Those for which it works as if nobody had set LD_PRELOAD (ld.so(8), "Secure-execution
  // mode").
  if ((about.st_mode & (S_ISUID | S_ISGID)) != 0) {
    why = "it runs with another user's or group's rights, and is left alone";
  } else if (geteuid() != 0 &&
             getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) {
    why = "it has capabilities of its own (getcap), and is left alone";
  }
  if (!why.empty()) refuse(why);
}

std::string PreloadPath() {
  char self[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof self);
  std::string path(self, size > 0 ? static_cast<size_t>(size) : 0);
  return path.substr(0, path.rfind('/') + 1) + "libgrove_patch.so";
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> only, without;
  int i = 1;
  for (; i < argc && strncmp(argv[i], "--", 2) == 0; ++i) {
    const std::string option = argv[i] + 2;
    if (option.empty()) {
      ++i;
      break;
    }
    const bool no = option.rfind("no-", 0) == 0;
    const std::string module = no ? option.substr(3) : option;
    if (option == "verbose") {
      setenv("GROVE_PATCH_VERBOSE", "1", 1);
    } else if (option == "report") {
      setenv("GROVE_PATCH_REPORT", "1", 1);
    } else if (std::find(std::begin(kModules), std::end(kModules), module) !=
               std::end(kModules)) {
      (no ? without : only).push_back(module);
    } else {
      fprintf(stderr, "run: unknown option --%s\n", option.c_str());
      Usage();
    }
  }
  if (i >= argc) Usage();

  std::string modules;
  for (const std::string module : kModules) {
    const auto in = [&](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), module) != list.end();
    };
    if ((only.empty() || in(only)) && !in(without)) modules += module + ",";
  }
  Found program = {FindProgram(argv[i]), {argv + i, argv + argc}, ""};
  if (program.path.empty()) {
    fprintf(stderr, "run: %s: not found\n", argv[i]);
    return kNotFound;
  }
  Look(program.path, 0, &program);
  if (!program.why_not.empty()) {
    fprintf(stderr, "run: %s: %s\n", program.path.c_str(), program.why_not.c_str());
    return kCannotRun;
  }
  std::string preload = PreloadPath();
  if (access(preload.c_str(), R_OK) != 0) {
    fprintf(stderr, "run: %s: %s\n", preload.c_str(), strerror(errno));
    return kFailed;
  }
  if (const char* before = getenv("LD_PRELOAD"); before && *before) {
    setenv("GROVE_PATCH_PRELOAD", before, 1);
    preload = std::string(before) + ":" + preload;
  }
  setenv("LD_PRELOAD", preload.c_str(), 1);
  setenv("GROVE_PATCH_MODULES", modules.c_str(), 1);
  std::vector<char*> arguments;
  for (std::string& argument : program.arguments) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  execv(program.path.c_str(), arguments.data());
  fprintf(stderr, "run: %s: %s\n", program.path.c_str(), strerror(errno));
  return kCannotRun;
}
