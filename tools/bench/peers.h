#ifndef GROVE_TOOLS_BENCH_PEERS_H_
#define GROVE_TOOLS_BENCH_PEERS_H_

#include <string>

// For servers of others, which take no port 0 and do not say when they are ready.
namespace grove::bench {

// One that was free a moment ago.
int FreePort();

// Until somebody accepts connections at that port of the loopback; a BenchError that
// names `who` after ten seconds.
void AwaitListening(int port, const std::string& who);

// A folder with a certificate that is made for this run.
class Certificate {
 public:
  Certificate();
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  ~Certificate();

  std::string File(const std::string& name) const { return folder_ + "/" + name; }
  std::string chain() const { return File("chain.pem"); }
  std::string key() const { return File("key.pem"); }

 private:
  std::string folder_;
};

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_PEERS_H_
