#pragma once

// What the code in patching.md takes for given.

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"

namespace docs_patching {

void DownloadByLibcurl(const std::string& url);
extern std::vector<std::string> urls;

}  // namespace docs_patching
