#pragma once

// What the code in configuration.md takes for given.

#include "grove/hub/config.h"

namespace docs_configuration {

using namespace grove;

}  // namespace docs_configuration
