#ifndef GROVE_EXAMPLES_PARSE_FLAGS_H_
#define GROVE_EXAMPLES_PARSE_FLAGS_H_

#include <string>
#include <vector>

namespace grove::examples {

// Parses the command line's Abseil flags for a program that takes nothing else. What it
// cannot read, surplus words and times of less than none included, is one line on stderr
// and exit status 2. Dashes in a flag's name are as good as underscores: --tls-cert,
// --tls_cert.
void ParseFlags(int argc, char** argv, const std::string& usage);

// The same for a program that takes words as well: returns them.
std::vector<std::string> ParseWords(int argc, char** argv, const std::string& usage);

// That line and that exit.
[[noreturn]] void Refuse(const std::string& why);

}  // namespace grove::examples

#endif  // GROVE_EXAMPLES_PARSE_FLAGS_H_
