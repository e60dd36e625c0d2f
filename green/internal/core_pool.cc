#include "grove/green/internal/core_pool.h"

#include <cstdlib>
#include <mutex>

#include "grove/green/internal/core.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

constexpr size_t kChunkSize = 64 * 1024;

// Of hubs that have ended.
struct IdleChunks {
  ProcessMutex mutex;
  std::vector<void*> chunks;
};

IdleChunks& Idle() {
  static auto* const idle = new IdleChunks;
  return *idle;
}

void* TakeChunk() {
  {
    std::lock_guard lock(Idle().mutex);
    if (!Idle().chunks.empty()) {
      void* chunk = Idle().chunks.back();
      Idle().chunks.pop_back();
      return chunk;
    }
  }
  void* chunk = std::aligned_alloc(alignof(Core), kChunkSize);
  GROVE_CHECK(chunk != nullptr, "out of memory for control blocks of greenlets");
  return chunk;
}

}  // namespace

CorePool::~CorePool() {
  std::lock_guard lock(Idle().mutex);
  Idle().chunks.insert(Idle().chunks.end(), chunks_.begin(), chunks_.end());
}

void CorePool::Refill() {
  char* chunk = static_cast<char*>(TakeChunk());
  chunks_.push_back(chunk);
  // So that the first one is taken first.
  for (size_t n = kChunkSize / sizeof(Core); n > 0; --n) {
    Give(chunk + (n - 1) * sizeof(Core));
  }
}

}  // namespace grove::green_internal
