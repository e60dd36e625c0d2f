#ifndef GROVE_TOOLS_BENCH_ALLOC_COUNT_H_
#define GROVE_TOOLS_BENCH_ALLOC_COUNT_H_

#include <cstdint>

namespace grove::bench {

// AllocationCount()
//
// How often this thread has called operator new so far. This binary replaces it in order
// to count; sanitizers have their own, and there the answer is always 0.
uint64_t AllocationCount();

// Whether AllocationCount() counts.
bool CountsAllocations();

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_ALLOC_COUNT_H_
