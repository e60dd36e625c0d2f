#include "grove/examples/parse_flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <vector>

#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace grove::examples {
namespace {

// "--tls-cert" is "--tls_cert", which is how Abseil knows it.
void UseUnderscores(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (!absl::StartsWith(argv[i], "--")) continue;
    if (argv[i][2] == '\0') return;  // words follow
    for (char* c = argv[i] + 2; *c != '\0' && *c != '='; ++c) {
      if (*c == '-') *c = '_';
    }
  }
}

bool parsing = false;
bool asked_for_help = false;

// Abseil ends the program with status 1 for a flag that it cannot read, and for --help.
void CorrectStatus(int status, void*) {
  if (!parsing || status != 1) return;
  fflush(nullptr);
  _exit(asked_for_help ? 0 : 2);
}

// In none of these programs may something take less than no time.
void RefuseNegativeTimes() {
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    const auto time = flag->TryGet<absl::Duration>();
    if (time && *time < absl::ZeroDuration()) {
      Refuse(absl::StrCat("--", name, "=", flag->CurrentValue(), ": less than none"));
    }
  }
}

}  // namespace

void ParseFlags(int argc, char** argv, const std::string& usage) {
  const std::vector<std::string> words = ParseWords(argc, argv, usage);
  if (!words.empty()) Refuse(absl::StrCat("what is \"", words[0], "\"? (see --help)"));
}

std::vector<std::string> ParseWords(int argc, char** argv, const std::string& usage) {
  UseUnderscores(argc, argv);
  for (int i = 1; i < argc; ++i) asked_for_help |= absl::StartsWith(argv[i], "--help");
  absl::SetProgramUsageMessage(usage);
  on_exit(&CorrectStatus, nullptr);
  parsing = true;
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  parsing = false;
  RefuseNegativeTimes();
  return {rest.begin() + 1, rest.end()};
}

void Refuse(const std::string& why) {
  fprintf(stderr, "%s: %s\n", program_invocation_short_name, why.c_str());
  exit(2);
}

}  // namespace grove::examples
