#pragma once

// What the code in files.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/os/buffered.h"
#include "grove/green/os/file.h"
#include "grove/green/os/file_watcher.h"
#include "grove/green/os/pipe.h"

namespace docs_files {

using namespace grove;

struct State {};
std::string Encode(const State& state);
void Handle(absl::string_view name);
void Count(absl::string_view line);
void Print(absl::string_view line);
void Execute(absl::string_view line);
void Load(absl::string_view path);
struct Row {};
std::string Format(const Row& row);

constexpr size_t kRecordSize = 512;
extern State state;
extern std::string record;
extern int64_t index;
extern std::vector<Row> rows;
extern absl::StatusOr<File> file;
extern absl::StatusOr<File> out;

}  // namespace docs_files
