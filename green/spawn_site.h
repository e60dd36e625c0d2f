#ifndef GROVE_GREEN_SPAWN_SITE_H_
#define GROVE_GREEN_SPAWN_SITE_H_

namespace grove {

// SpawnSite
//
// Where a greenlet was spawned; for messages. As std::source_location, which clang 14
// lacks.
struct SpawnSite {
  static constexpr SpawnSite Here(const char* file = __builtin_FILE(),
                                  int line = __builtin_LINE()) {
    return {file, line};
  }

  const char* file = "";
  int line = 0;
};

}  // namespace grove

#endif  // GROVE_GREEN_SPAWN_SITE_H_
