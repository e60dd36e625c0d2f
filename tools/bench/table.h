#ifndef GROVE_TOOLS_BENCH_TABLE_H_
#define GROVE_TOOLS_BENCH_TABLE_H_

#include <cmath>
#include <string>
#include <vector>

namespace grove::bench {

// Target
//
// What a row is to come up to. Informative: a miss is shown and changes no exit status,
// for what a busy machine measures says nothing about the code.
struct Target {
  enum Kind { kNone, kAtMost, kBelow, kAtLeast, kRatioAtMost, kRatioAtLeast };

  Kind kind = kNone;
  double limit = 0;
};

inline constexpr double kNoValue = NAN;

// Row
//
// One figure.
struct Row {
  std::string name;
  double value = kNoValue;
  std::string unit;
  Target target = {};
  double peer = kNoValue;  // the same of the code it is compared with
  std::vector<double> ratios =
      {};  // value / peer of each pair; the row's is their median
  std::string note = {};

  double ratio() const;
  // "<= 5", "ratio <= 1.05" or "".
  std::string TargetText() const;
  // "yes", "no", or "" if there is no target or no value.
  std::string MetText() const;
};

// Table
//
// All rows of a run. Each is printed when it is added, since a whole run takes minutes.
class Table {
 public:
  void Add(Row row);
  // A figure that could not be had, and why.
  void AddError(const std::string& name, const std::string& why);

  bool empty() const { return rows_.empty(); }
  bool has_errors() const { return has_errors_; }

  // Table::Json()
  //
  // {"quick": ..., "pairs": ..., "rows": [{"name": ..., ...}, ...]}
  std::string Json(bool quick, int pairs) const;

 private:
  std::vector<Row> rows_;
  bool has_errors_ = false;
};

// The middle one, or the mean of the two in the middle; NaN of none.
double Median(std::vector<double> values);

// The value below which a part `q` of all lie; NaN of none.
double Quantile(std::vector<double> values, double q);

// For a row's note: `before` and "0.97..1.02"; nothing if there is but one value.
std::string Spread(const std::vector<double>& values, std::string before = {});

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_TABLE_H_
