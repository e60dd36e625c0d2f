#ifndef GROVE_TOOLS_BENCH_BOOST_FIBER_PEER_H_
#define GROVE_TOOLS_BENCH_BOOST_FIBER_PEER_H_

// What Boost.Fiber needs for the same, in ns, where the machine has it (Debian's
// libboost-fiber-dev); else kNoValue.
namespace grove::bench {

double BoostFiberMutexNs(int n);     // lock and unlock, nobody else wants it
double BoostFiberChannelNs(int n);   // from hand to hand, one way
double BoostFiberBufferedNs(int n);  // put and get, in batches of 16
double BoostFiberHandoffNs(int n);   // a mutex and a condition variable, one way

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_BOOST_FIBER_PEER_H_
