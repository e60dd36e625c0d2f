#ifndef GROVE_VERSION_H_
#define GROVE_VERSION_H_

// The version of grove, for code that is built with several of them;
// docs/compatibility.md says what it promises.
//
//   #if GROVE_VERSION < 200   // before 0.2.0
//
#define GROVE_VERSION_MAJOR 0
#define GROVE_VERSION_MINOR 1
#define GROVE_VERSION_PATCH 0

// 10000 * major + 100 * minor + patch.
#define GROVE_VERSION \
  (GROVE_VERSION_MAJOR * 10000 + GROVE_VERSION_MINOR * 100 + GROVE_VERSION_PATCH)

#define GROVE_VERSION_STRING "0.1.0"

#endif  // GROVE_VERSION_H_
